// Reads sources and their includes and names what a pure file must not use: clocks, threads, files, logs,
// random devices, gRPC, protobuf, CUDA.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ballast::testing {

// The text of a file of the repository, by its path from the root; nothing when there is no such file.
using ReadSource = std::function<std::optional<std::string>(const std::string& path)>;

struct Impurities {
  std::vector<std::string> found;  // "plan/a.cc -> plan/b.h: includes <thread>", one per offence
  std::set<std::string> files;     // every file that was read
};

// Follows the includes of `files` as far as they lead within the repository.
Impurities FindImpurities(const std::vector<std::string>& files, const ReadSource& read);

}  // namespace ballast::testing
