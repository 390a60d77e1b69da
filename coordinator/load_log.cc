#include "coordinator/load_log.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

// Before every record: its length, and a hash of its bytes.
struct Head {
  uint64_t bytes = 0;
  uint64_t hash = 0;
};

// FNV-1a: finds torn writes, not malice.
uint64_t HashOf(const std::string& bytes) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return hash;
}

std::string FileName(const JobId& job) {
  std::string name;
  for (const char c : job.value()) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_') {
      name += c;
    } else {
      absl::StrAppendFormat(&name, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return name;
}

// The records of a file, up to the first that is torn or damaged; `good` is where that begins.
std::vector<StepReport> ReadFile(const std::string& path, size_t& good) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  const std::string bytes = content.str();
  std::vector<StepReport> reports;
  good = 0;
  while (bytes.size() - good >= sizeof(Head)) {
    Head head;
    std::memcpy(&head, bytes.data() + good, sizeof(head));
    if (head.bytes > bytes.size() - good - sizeof(head)) break;
    const std::string record = bytes.substr(good + sizeof(head), head.bytes);
    v1::WorkerMessage message;
    if (HashOf(record) != head.hash || !message.ParseFromString(record)) break;
    absl::StatusOr<WorkerMessage> value = FromProto(message);
    if (!value.ok() || !std::holds_alternative<StepReport>(*value)) break;
    reports.push_back(std::get<StepReport>(*std::move(value)));
    good += sizeof(head) + head.bytes;
  }
  return reports;
}

class FileLoadLog final : public LoadLog {
 public:
  FileLoadLog(std::string directory, const LoadLogOptions& options)
      : directory_(std::move(directory)), options_(options) {}

  void Append(const StepReport& report) override {
    File& file = Opened(report.job);
    if (file.failed) return;
    if (file.bytes > options_.bytes_max / 2) Rotate(report.job, file);
    const std::string record = ToProto(WorkerMessage(report)).SerializeAsString();
    const Head head{record.size(), HashOf(record)};
    file.out.write(reinterpret_cast<const char*>(&head), sizeof(head));
    file.out.write(record.data(), static_cast<std::streamsize>(record.size()));
    file.out.flush();
    file.bytes += sizeof(head) + record.size();
    if (file.out.good()) return;
    file.failed = true;
    Log(LogLevel::kWarning, "recorded loads cannot be written: a trace will lack the steps from here on",
        {{"file", Path(report.job, ".new")}, {"job", report.job.value()}});
  }

  std::vector<StepReport> Read(const JobId& job) override {
    size_t good = 0;
    std::map<Step, StepReport> steps;
    Generation newest;
    for (const char* part : {".old", ".new"}) {
      for (StepReport& report : ReadFile(Path(job, part), good)) {
        if (report.job != job || report.generation < newest) continue;
        // What the generations before did from this step on is trained again.
        if (report.generation > newest) steps.erase(steps.lower_bound(report.step), steps.end());
        newest = report.generation;
        steps.insert_or_assign(report.step, std::move(report));
      }
    }
    std::vector<StepReport> reports;
    for (auto& [step, report] : steps) reports.push_back(std::move(report));
    return reports;
  }

  void DropOldest() const {
    std::vector<std::pair<fs::file_time_type, fs::path>> logs;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory_, error)) {
      if (entry.path().extension() == ".new") logs.push_back({entry.last_write_time(error), entry.path()});
    }
    std::sort(logs.begin(), logs.end(), std::greater<>());
    for (size_t i = options_.jobs_max; i < logs.size(); ++i) {
      fs::remove(logs[i].second, error);
      fs::remove(fs::path(logs[i].second).replace_extension(".old"), error);
    }
  }

 private:
  struct File {
    std::ofstream out;
    size_t bytes = 0;
    bool failed = false;
  };

  std::string Path(const JobId& job, const char* part) const {
    return absl::StrCat(directory_, "/", FileName(job), part);
  }

  File& Opened(const JobId& job) {
    const auto [found, fresh] = files_.try_emplace(job);
    File& file = found->second;
    if (!fresh) return file;
    const std::string path = Path(job, ".new");
    ReadFile(path, file.bytes);
    std::error_code error;
    if (fs::exists(path, error)) fs::resize_file(path, file.bytes, error);
    file.out.open(path, std::ios::binary | std::ios::app);
    return file;
  }

  void Rotate(const JobId& job, File& file) {
    file.out.close();
    std::error_code error;
    fs::rename(Path(job, ".new"), Path(job, ".old"), error);
    file.out.open(Path(job, ".new"), std::ios::binary | std::ios::trunc);
    file.bytes = 0;
  }

  const std::string directory_;
  const LoadLogOptions options_;
  std::map<JobId, File> files_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadLog>> OpenLoadLog(const std::string& directory,
                                                     const LoadLogOptions& options) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error || !fs::is_directory(directory, error)) {
    return absl::UnavailableError(
        absl::StrCat(directory, ": cannot be made a directory for recorded loads: ", error.message()));
  }
  auto log = std::make_unique<FileLoadLog>(directory, options);
  log->DropOldest();
  return log;
}

}  // namespace ballast
