// The few bytes that neighbouring daemons exchange over their liveness connection. Pure.
//
//   dialler -> listener   hello: "BLN1", generation, rank, length of job, job   (little-endian)
//   listener -> dialler   'Y' watched from now on | 'N' not (yet) in that generation, try again
//   then each side        'P' ping, answered by 'A'; 'B' good-bye: this daemon has finished, closing is no
//   loss
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace ballast {

inline constexpr char kNeighbourYes = 'Y';
inline constexpr char kNeighbourNotYet = 'N';
inline constexpr char kNeighbourPing = 'P';
inline constexpr char kNeighbourAnswer = 'A';
inline constexpr char kNeighbourBye = 'B';

struct NeighbourHello {
  JobId job;
  Generation generation;
  Rank rank;  // the dialler's first rank
  friend bool operator==(const NeighbourHello&, const NeighbourHello&) = default;
};

std::string EncodeNeighbourHello(const NeighbourHello& hello);

// Takes a hello off the front of `bytes`; nothing while it is incomplete; InvalidArgument for anything else
// than a hello.
absl::StatusOr<std::optional<NeighbourHello>> TakeNeighbourHello(std::string& bytes);

}  // namespace ballast
