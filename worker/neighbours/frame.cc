#include "worker/neighbours/frame.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr char kMagic[] = "BLN1";
constexpr size_t kMagicBytes = 4;
constexpr size_t kFixedBytes = kMagicBytes + 8 + 4 + 4;
constexpr uint32_t kJobBytesMax = 1024;

template <class T>
void Append(std::string& out, T value) {
  for (size_t i = 0; i < sizeof value; ++i)
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
}

template <class T>
T Read(const std::string& bytes, size_t offset) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace

std::string EncodeNeighbourHello(const NeighbourHello& hello) {
  std::string out(kMagic, kMagicBytes);
  Append(out, hello.generation.value());
  Append(out, hello.rank.value());
  Append(out, static_cast<uint32_t>(hello.job.value().size()));
  return out + hello.job.value();
}

absl::StatusOr<std::optional<NeighbourHello>> TakeNeighbourHello(std::string& bytes) {
  if (std::memcmp(bytes.data(), kMagic, std::min(bytes.size(), kMagicBytes)) != 0) {
    return absl::InvalidArgumentError("the connection does not begin with a neighbour's hello");
  }
  if (bytes.size() < kFixedBytes) return std::optional<NeighbourHello>();
  uint32_t job_bytes = Read<uint32_t>(bytes, kMagicBytes + 12);
  if (job_bytes > kJobBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("job name of ", job_bytes, " bytes, allowed 0..", kJobBytesMax));
  }
  if (bytes.size() < kFixedBytes + job_bytes) return std::optional<NeighbourHello>();
  NeighbourHello hello{.job = JobId(bytes.substr(kFixedBytes, job_bytes)),
                       .generation = Generation(Read<int64_t>(bytes, kMagicBytes)),
                       .rank = Rank(Read<int32_t>(bytes, kMagicBytes + 8))};
  bytes.erase(0, kFixedBytes + job_bytes);
  return std::optional<NeighbourHello>(std::move(hello));
}

}  // namespace ballast
