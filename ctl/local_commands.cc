#include "ctl/local_commands.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "ctl/output.h"
#include "ctl/prepare.h"

namespace ballast {
namespace {

// One line that is drawn again and again; a bar of 30 characters.
class ProgressBar {
 public:
  explicit ProgressBar(std::ostream& out) : out_(out) {}
  ~ProgressBar() {
    if (drawn_) out_ << "\r\033[K" << std::flush;
  }
  void Draw(int64_t done, int64_t total) {
    auto now = std::chrono::steady_clock::now();
    if (drawn_ && done < total && now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    constexpr int kWidth = 30;
    int filled = total > 0 ? static_cast<int>(kWidth * done / total) : kWidth;
    out_ << absl::StrFormat("\r[%s%s] %d/%d MB", std::string(filled, '#'), std::string(kWidth - filled, ' '),
                            done / 1'000'000, total / 1'000'000)
         << std::flush;
  }

 private:
  std::ostream& out_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace

absl::Status DataPrepare(const Context& context, const DataPrepareArguments& arguments) {
  PrepareRequest request{arguments.prefix, arguments.paths, nullptr};
  absl::StatusOr<PrepareSummary> summary;
  {
    ProgressBar bar(context.err);
    if (context.err_is_terminal)
      request.progress = [&](int64_t done, int64_t total) { bar.Draw(done, total); };
    summary = PrepareData(request);
  }
  if (!summary.ok()) return summary.status();
  nlohmann::ordered_json json = {
      {"prefix", arguments.prefix},        {"documents", summary->documents},
      {"tokens", summary->tokens},         {"skipped_symlinks", summary->symlinks},
      {"skipped_binary", summary->binary}, {"skipped_duplicates", summary->duplicates},
      {"skipped_empty", summary->empty},   {"skipped_special", summary->special}};
  if (PrintForPrograms(context, json)) return absl::OkStatus();
  context.out << arguments.prefix << ": " << summary->documents << " documents, " << summary->tokens
              << " tokens; skipped: " << summary->duplicates << " duplicates, " << summary->binary
              << " binary, " << summary->symlinks << " symbolic links, " << summary->empty << " empty, "
              << summary->special << " special\n";
  return absl::OkStatus();
}

absl::Status CertsDev(const Context& context, const DevCertificates& request) {
  BALLAST_ASSIGN_OR_RETURN(std::vector<std::string> paths, WriteDevCertificates(request));
  if (PrintForPrograms(context, nlohmann::ordered_json(paths))) return absl::OkStatus();
  for (const std::string& path : paths) context.out << path << "\n";
  return absl::OkStatus();
}

}  // namespace ballast
