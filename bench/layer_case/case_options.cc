#include "bench/layer_case/case_options.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace ballast::bench {
namespace {

constexpr int64_t kNumberMax = 1 << 24;

}  // namespace

absl::StatusOr<CaseOptions> ParseCaseOptions(int argc, char** argv,
                                             const std::map<std::string, std::vector<std::string>>& others) {
  CaseOptions options;
  std::string shape = "tiny", routing = "balanced";
  int64_t tokens = 8192, ranks = options.ranks, iterations = options.iterations, samples = options.samples;
  const std::map<std::string, std::string*> texts = {{"--shape", &shape}, {"--routing", &routing}};
  const std::map<std::string, int64_t*> numbers = {
      {"--tokens", &tokens}, {"--ranks", &ranks}, {"--iterations", &iterations}, {"--samples", &samples}};
  for (const auto& [flag, allowed] : others) options.others[flag] = allowed.empty() ? "" : allowed.front();
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    const auto own = others.find(flag);
    if (texts.count(flag) == 0 && numbers.count(flag) == 0 && own == others.end()) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag ", flag));
    }
    if (i + 1 == argc) return absl::InvalidArgumentError(absl::StrCat(flag, " needs a value"));
    const std::string value = argv[i + 1];
    if (texts.count(flag) > 0) {
      *texts.at(flag) = value;
    } else if (numbers.count(flag) > 0) {
      if (!absl::SimpleAtoi(value, numbers.at(flag)) || *numbers.at(flag) < 1 ||
          *numbers.at(flag) > kNumberMax) {
        return absl::InvalidArgumentError(
            absl::StrCat(flag, ": found \"", value, "\", allowed are numbers from 1 to ", kNumberMax));
      }
    } else {
      const std::vector<std::string>& allowed = own->second;
      if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(flag, ": found \"", value, "\", allowed are ", absl::StrJoin(allowed, ", ")));
      }
      options.others[flag] = value;
    }
  }
  BALLAST_ASSIGN_OR_RETURN(options.layer, MakeCase(shape, tokens, routing));
  if (options.layer.experts % ranks != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--ranks: found ", ranks, ", which does not divide ",
                                                   options.layer.experts, " experts"));
  }
  options.ranks = static_cast<int>(ranks);
  options.iterations = static_cast<int>(iterations);
  options.samples = static_cast<int>(samples);
  return options;
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace ballast::bench
