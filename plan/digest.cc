// The canonical encoding of a plan and its digest.
//
// Every field is fixed-size little-endian or a string or list with its length in front, so no two plans share
// an encoding. A change of the encoding changes every digest: it needs a new protocol version.
#include <openssl/sha.h>

#include <bit>

#include "plan/plan.h"

namespace ballast {
namespace {

class Encoder {
 public:
  void U8(uint8_t value) { Little(value, 1); }
  void U32(uint32_t value) { Little(value, 4); }
  void U64(uint64_t value) { Little(value, 8); }
  void I32(int32_t value) { U32(static_cast<uint32_t>(value)); }
  void I64(int64_t value) { U64(static_cast<uint64_t>(value)); }
  void Size(size_t value) { U64(value); }
  void Text(const std::string& text) {
    Size(text.size());
    bytes_ += text;
  }
  // -0.0 equals 0.0, so it is written as 0.0. NaN equals nothing; the validator refuses it.
  void Real(double value) { U64(std::bit_cast<uint64_t>(value == 0 ? 0.0 : value)); }

  std::string Take() { return std::move(bytes_); }

 private:
  void Little(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
  std::string bytes_;
};

void Encode(const PlanStamp& stamp, Encoder& out) {
  out.Text(stamp.job.value());
  out.I64(stamp.generation.value());
  out.I64(stamp.version.value());
  out.I64(stamp.base_version.value());
  out.I64(stamp.not_before_step.value());
}

void Encode(const LayerPlan& layer, Encoder& out) {
  out.Size(layer.slots.size());
  for (const std::vector<Slot>& slots : layer.slots) {
    out.Size(slots.size());
    for (const Slot& slot : slots) {
      out.U8(slot.has_value());
      out.I32(slot ? slot->value() : 0);
    }
  }
  out.U8(static_cast<uint8_t>(layer.split.kind));
  out.Size(layer.split.fractions.size());
  for (const std::vector<uint32_t>& fractions : layer.split.fractions) {
    out.Size(fractions.size());
    for (uint32_t fraction : fractions) out.U32(fraction);
  }
  const LayerSchedule& schedule = layer.schedule;
  out.Text(schedule.all_to_all);
  out.I32(schedule.chunks);
  out.Text(schedule.task_order);
  out.Text(schedule.dispatch_compressor);
  out.Text(schedule.combine_compressor);
}

void Encode(const PlanBody& body, Encoder& out) {
  out.Size(body.homes.size());
  for (Rank home : body.homes) out.I32(home.value());
  out.Size(body.speeds.size());
  for (uint32_t speed : body.speeds) out.U32(speed);
  out.Size(body.layers.size());
  for (const LayerPlan& layer : body.layers) Encode(layer, out);
  out.Text(body.reason);
  out.Real(body.predicted_step_seconds);
}

}  // namespace

std::string CanonicalBytes(const Plan& plan) {
  Encoder out;
  Encode(plan.stamp, out);
  Encode(plan.body, out);
  return out.Take();
}

PlanDigest Digest(const Plan& plan) {
  const std::string bytes = CanonicalBytes(plan);
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  uint64_t first = 0;
  for (int i = 0; i < 8; ++i) first = first << 8 | hash[i];
  return PlanDigest(first);
}

}  // namespace ballast
