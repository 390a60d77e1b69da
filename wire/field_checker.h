// Checks the scalars of a message one after the other and keeps the first complaint, with the path of the
// field, what was found and what is allowed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ballast {

// `message.field()` when it is set; for proto3 `optional` fields.
#define BALLAST_FIELD(message, field) \
  ((message).has_##field() ? std::make_optional((message).field()) : std::nullopt)

struct WholeRange {
  int64_t low = 0;
  int64_t high = 0;
  std::string why = "";  // where a bound comes from, "number of experts"
};

struct RealRange {
  double low = 0;
  double high = 0;
  bool low_open = false;   // low itself is not allowed
  bool high_open = false;  // high itself is not allowed
  std::string why = "";
};

// Not thread-safe. After a complaint, further checks return harmless values and complain no more.
class FieldChecker {
 public:
  // The value, or `fallback` when it is not set. A field without a fallback is required.
  int64_t Whole(const std::string& path, std::optional<int64_t> value, const WholeRange& range,
                std::optional<int64_t> fallback = std::nullopt);
  double Real(const std::string& path, std::optional<double> value, const RealRange& range,
              std::optional<double> fallback = std::nullopt);
  // Text that is not empty.
  std::string Text(const std::string& path, const std::optional<std::string>& value,
                   std::optional<std::string> fallback = std::nullopt);
  // One of `choices`; with none given, any text.
  std::string Choice(const std::string& path, const std::optional<std::string>& value,
                     const std::vector<std::string>& choices,
                     std::optional<std::string> fallback = std::nullopt);
  // A name: 1 to 63 of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit.
  std::string Name(const std::string& path, const std::optional<std::string>& value);

  // Complains "PATH: TEXT" unless `holds`.
  void Require(bool holds, const std::string& path, const std::string& text);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

// The shortest decimal form that reads back as the same double.
std::string ShortestDouble(double value);

}  // namespace ballast
