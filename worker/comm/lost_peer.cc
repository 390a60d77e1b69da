#include "worker/comm/lost_peer.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr char kPayload[] = "ballast/lost-rank";

}  // namespace

absl::Status LostPeerError(Rank peer, const std::string& detail) {
  absl::Status status = absl::UnavailableError(absl::StrCat("rank ", peer.value(), " is lost: ", detail));
  // The view's constructor: clang and GCC name Cord's one for strings differently, and the library is GCC's.
  const std::string text = absl::StrCat(peer.value());
  status.SetPayload(kPayload, absl::Cord(absl::string_view(text)));
  return status;
}

std::optional<Rank> LostPeerOf(const absl::Status& status) {
  absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  int32_t rank = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &rank)) return std::nullopt;
  return Rank(rank);
}

}  // namespace ballast
