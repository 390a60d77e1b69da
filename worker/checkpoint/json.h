// JSON from files that others may have damaged or written.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

// The document in `text`, an object; `file` is its name in errors. InvalidArgument: a syntax error with its
// byte, a key that is there twice, or nesting beyond 32 levels.
absl::StatusOr<nlohmann::json> ParseObject(std::string_view text, const std::string& file);

// Takes members out of an object and keeps the first complaint, "FILE: PATH: found .., allowed ..". After it,
// everything returned is empty.
class JsonReader {
 public:
  explicit JsonReader(std::string file) : file_(std::move(file)) {}

  const nlohmann::json& Member(const nlohmann::json& object, const std::string& name);
  int64_t Whole(const nlohmann::json& object, const std::string& name, int64_t low,
                int64_t high = std::numeric_limits<int64_t>::max());
  double Real(const nlohmann::json& object, const std::string& name);
  std::string Text(const nlohmann::json& object, const std::string& name);
  // Empty when it is no list.
  const nlohmann::json& List(const nlohmann::json& object, const std::string& name);
  void Complain(const std::string& path, const std::string& text);
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  const std::string file_;
  absl::Status status_;
};

}  // namespace ballast
