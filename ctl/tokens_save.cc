#include "ctl/tokens_save.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "coordinator/planner/register.h"
#include "replay/npy.h"

namespace ballast {
namespace {

absl::Status Take(const v1::GetTokensResponse& answer, SavedTokens& tokens) {
  if (!tokens.sequences.empty() && answer.tokens() != tokens.length) {
    return absl::InvalidArgumentError(absl::StrCat("tokens: found sequences of ", answer.tokens(),
                                                   " behind those of ", tokens.length,
                                                   ", allowed is one length"));
  }
  tokens.layers = answer.layers();
  tokens.top_k = answer.top_k();
  tokens.length = answer.tokens();
  const int64_t choices = int64_t{tokens.layers} * tokens.length * tokens.top_k;
  for (const v1::SampledSequenceStatus& sequence : answer.sequences()) {
    const std::string name = absl::StrCat("sequence of step ", sequence.step(), ", rank ", sequence.rank());
    if (sequence.choices_size() != choices) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": found ", sequence.choices_size(), " experts, allowed is ", choices));
    }
    std::vector<uint16_t>& to = tokens.sequences[{sequence.step(), sequence.rank()}];
    to.clear();
    for (uint32_t expert : sequence.choices()) {
      if (expert > std::numeric_limits<uint16_t>::max()) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": found expert ", expert, ", allowed is 0..",
                                                       std::numeric_limits<uint16_t>::max()));
      }
      to.push_back(static_cast<uint16_t>(expert));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SavedTokens> FetchTokens(const ControlClient& client, const std::string& job) {
  SavedTokens tokens;
  v1::GetTokensRequest request;
  request.set_job(job);
  while (true) {
    BALLAST_ASSIGN_OR_RETURN(const v1::GetTokensResponse answer,
                             client.Call(&v1::Control::Stub::GetTokens, request));
    if (answer.sequences().empty()) return tokens;
    BALLAST_RETURN_IF_ERROR(Take(answer, tokens));
    const std::pair<int64_t, int64_t> last = tokens.sequences.rbegin()->first;
    if (last <= std::pair<int64_t, int64_t>(request.after_step(), request.after_rank())) {
      return absl::InvalidArgumentError("tokens: found sequences that do not rise");
    }
    request.set_after_step(last.first);
    request.set_after_rank(static_cast<int32_t>(last.second));
  }
}

absl::StatusOr<std::string> TokensArray(const SavedTokens& tokens) {
  if (tokens.sequences.empty()) {
    std::vector<std::string> names;
    for (const std::string& name : Planners().Names()) {
      if ((*Planners().Find(name))->traits().needs_tokens) names.push_back(name);
    }
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator keeps no sample of tokens of this job; workers take one where "
                     "planner.strategy is ",
                     absl::StrJoin(names, ", "), " and the ranks are on several nodes"));
  }
  std::string bytes = NpyHeader(
      2, {tokens.layers, static_cast<int64_t>(tokens.sequences.size()) * tokens.length, tokens.top_k});
  const size_t of_layer = static_cast<size_t>(tokens.length) * static_cast<size_t>(tokens.top_k);
  for (size_t l = 0; l < static_cast<size_t>(tokens.layers); ++l) {
    for (const auto& [place, choices] : tokens.sequences) {
      for (size_t i = l * of_layer; i < (l + 1) * of_layer; ++i) {
        bytes += static_cast<char>(choices[i] & 0xff);
        bytes += static_cast<char>(choices[i] >> 8);
      }
    }
  }
  return bytes;
}

}  // namespace ballast
