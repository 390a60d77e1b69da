// The status of a lost peer, which says who it was not only to people.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

// Unavailable: "rank 3 is lost: DETAIL".
absl::Status LostPeerError(Rank peer, const std::string& detail);

// The peer of such a status; nothing for any other status.
std::optional<Rank> LostPeerOf(const absl::Status& status);

}  // namespace ballast
