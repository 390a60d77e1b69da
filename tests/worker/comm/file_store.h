// Rendezvous between processes of one machine.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "worker/comm/rendezvous.h"

namespace ballast {

// Rendezvous between processes: one file per key.
class FileStore final : public RendezvousStore {
 public:
  explicit FileStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  absl::Status Put(const std::string& key, const std::string& value) override {
    std::ofstream(Path(key) += ".new") << value;
    std::filesystem::rename(Path(key) += ".new", Path(key));
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(const std::string& key, Time deadline) override {
    while (!std::filesystem::exists(Path(key))) {
      if (std::chrono::steady_clock::now() > deadline) return absl::DeadlineExceededError(key);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::stringstream text;
    text << std::ifstream(Path(key)).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path Path(std::string key) const {
    for (char& c : key) c = c == '/' ? '_' : c;
    return folder_ / key;
  }
  const std::filesystem::path folder_;
};

}  // namespace ballast
