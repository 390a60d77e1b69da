#include "ctl/megatron_trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "replay/npy.h"

namespace ballast {
namespace {

absl::Status Bad(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// An integer from 0; `otherwise` when the key may be missing and is.
absl::StatusOr<int64_t> Integer(const std::string& where, const nlohmann::json& line, const char* key,
                                std::optional<int64_t> otherwise) {
  const auto found = line.find(key);
  if (found == line.end()) {
    if (otherwise) return *otherwise;
    return Bad(where, absl::StrCat("'", key, "' is missing"));
  }
  const bool fits = found->is_number_unsigned() && found->get<uint64_t>() <= INT64_MAX;
  if (!fits)
    return Bad(where, absl::StrCat(key, ": found ", found->dump(), ", allowed is an integer from 0"));
  return found->get<int64_t>();
}

void AppendLittleEndian(uint64_t value, int bytes, std::string& out) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

absl::Status MegatronTrace::AddLine(const std::string& where, const std::string& text) {
  if (absl::StripAsciiWhitespace(text).empty()) return absl::OkStatus();
  const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
  if (!line.is_object()) return Bad(where, "expected a JSON object on one line");
  BALLAST_ASSIGN_OR_RETURN(const int64_t step, Integer(where, line, "step", std::nullopt));
  BALLAST_ASSIGN_OR_RETURN(const int64_t layer, Integer(where, line, "layer", std::nullopt));
  BALLAST_ASSIGN_OR_RETURN(const int64_t rank, Integer(where, line, "rank", std::nullopt));
  BALLAST_ASSIGN_OR_RETURN(const int64_t stage, Integer(where, line, "stage", 0));
  BALLAST_ASSIGN_OR_RETURN(const int64_t block, Integer(where, line, "block", 0));
  const auto chosen = line.find("top_indices");
  if (chosen == line.end() || !chosen->is_array()) {
    return Bad(where, "top_indices: expected the experts of each token, [[e, ...], ...]");
  }
  BALLAST_ASSIGN_OR_RETURN(const int64_t tokens,
                           Integer(where, line, "num_tokens", static_cast<int64_t>(chosen->size())));
  if (tokens != static_cast<int64_t>(chosen->size())) {
    return Bad(where, absl::StrCat("num_tokens: found ", tokens, ", top_indices has ", chosen->size()));
  }
  const size_t first = chosen->empty() || !(*chosen)[0].is_array() ? 0 : (*chosen)[0].size();
  BALLAST_ASSIGN_OR_RETURN(const int64_t k, Integer(where, line, "topk", static_cast<int64_t>(first)));
  const int limit = experts_ > 0 ? experts_ : kExpertsMax;
  Counts counts;
  std::vector<uint16_t> flat;
  for (size_t t = 0; t < chosen->size(); ++t) {
    const nlohmann::json& experts = (*chosen)[t];
    if (!experts.is_array() || static_cast<int64_t>(experts.size()) != k) {
      return Bad(where, absl::StrCat("top_indices[", t, "]: expected a list of ", k, " experts"));
    }
    for (const nlohmann::json& expert : experts) {
      if (!expert.is_number_unsigned() || expert.get<uint64_t>() >= static_cast<uint64_t>(limit)) {
        return Bad(where, absl::StrCat("top_indices[", t, "]: found ", expert.dump(), ", allowed is 0..",
                                       limit - 1));
      }
      const int e = expert.get<int>();
      experts_seen_ = std::max(experts_seen_, e + 1);
      ++counts[e];
      flat.push_back(static_cast<uint16_t>(e));
    }
  }
  const Layer name(stage, block, layer);
  counts_[step][name][rank].push_back(std::move(counts));
  if (tokens_layer_ >= 0 && k > 0) {
    std::vector<std::vector<uint16_t>>& kept = tokens_[name];
    for (size_t at = 0; at < flat.size() && kept.size() < kTokensKept; at += static_cast<size_t>(k)) {
      kept.emplace_back(flat.begin() + static_cast<ptrdiff_t>(at),
                        flat.begin() + static_cast<ptrdiff_t>(at) + static_cast<ptrdiff_t>(k));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MegatronTrace::Loads() const {
  if (counts_.empty()) return Bad("trace", "found no line");
  const auto& first = counts_.begin()->second;
  const size_t sources = first.begin()->second.size();
  const size_t microbatches = first.begin()->second.begin()->second.size();
  const int experts = experts_ > 0 ? experts_ : experts_seen_;
  if (experts == 0) return Bad("trace", "found no token");
  std::string bytes =
      NpyHeader(4, {static_cast<int64_t>(counts_.size()), static_cast<int64_t>(first.size()),
                    static_cast<int64_t>(microbatches), static_cast<int64_t>(sources), experts});
  for (const auto& [step, layers] : counts_) {
    if (layers.size() != first.size()) {
      return Bad(absl::StrCat("step ", step),
                 absl::StrCat("found ", layers.size(), " layers, the first step has ", first.size()));
    }
    auto expected = first.begin();
    for (const auto& [name, ranks] : layers) {
      const std::string where = absl::StrCat("step ", step, ", stage ", std::get<0>(name), ", block ",
                                             std::get<1>(name), ", layer ", std::get<2>(name));
      if (name != expected->first) return Bad(where, "the first step has other layers");
      ++expected;
      if (ranks.size() != sources) {
        return Bad(where, absl::StrCat("found ", ranks.size(), " ranks, the first layer has ", sources));
      }
      for (const auto& [rank, calls] : ranks) {
        if (calls.size() != microbatches) {
          return Bad(absl::StrCat(where, ", rank ", rank),
                     absl::StrCat("found ", calls.size(), " microbatches, the first has ", microbatches));
        }
      }
      for (size_t m = 0; m < microbatches; ++m) {
        for (const auto& [rank, calls] : ranks) {
          std::vector<int64_t> row(static_cast<size_t>(experts), 0);
          for (const auto& [expert, count] : calls[m]) row[static_cast<size_t>(expert)] = count;
          for (int64_t count : row) AppendLittleEndian(static_cast<uint64_t>(count), 4, bytes);
        }
      }
    }
  }
  return bytes;
}

absl::StatusOr<std::string> MegatronTrace::Tokens() const {
  if (tokens_layer_ < 0 || tokens_layer_ >= static_cast<int>(tokens_.size())) {
    return Bad("tokens-layer", absl::StrCat("found ", tokens_layer_, ", allowed is 0..",
                                            static_cast<int>(tokens_.size()) - 1));
  }
  const auto& tokens = std::next(tokens_.begin(), tokens_layer_)->second;
  std::string bytes = NpyHeader(
      2, {static_cast<int64_t>(tokens.size()), static_cast<int64_t>(tokens.empty() ? 0 : tokens[0].size())});
  for (const std::vector<uint16_t>& token : tokens) {
    if (token.size() != tokens[0].size()) {
      return Bad("tokens", absl::StrCat("found a token with ", token.size(), " experts and one with ",
                                        tokens[0].size()));
    }
    for (uint16_t expert : token) AppendLittleEndian(expert, 2, bytes);
  }
  return bytes;
}

}  // namespace ballast
