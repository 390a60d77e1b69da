// Shared by the session message converters: ids out of hostile integers.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ballast/v1/session.pb.h"
#include "protocol/messages.h"

namespace ballast {

// Turns integers into ids and keeps the first complaint. Ids that index arrays or order messages are never
// negative.
class IdReader {
 public:
  template <class IdType>
  IdType Get(const char* field, int64_t value) {
    if (value < 0) Complain(field, "found " + std::to_string(value) + ", allowed at least 0");
    return IdType(static_cast<typename IdType::rep>(value));
  }
  Stamp GetStamp(const v1::Stamp& stamp) {
    Stamp out;
    out.term = Get<Term>("stamp.term", stamp.term());
    out.job = JobId(stamp.job());
    out.generation = Get<Generation>("stamp.generation", stamp.generation());
    return out;
  }
  void Complain(const std::string& field, const std::string& text) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(field + ": " + text);
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

inline void SetStamp(const Stamp& stamp, v1::Stamp* out) {
  out->set_term(stamp.term.value());
  out->set_job(stamp.job.value());
  out->set_generation(stamp.generation.value());
}

// For std::visit over a message variant.
template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace ballast
