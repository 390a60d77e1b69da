#include "ctl/job_events.h"

#include <chrono>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "wire/message_json.h"
#include "wire/strict_reader.h"

namespace ballast {
namespace {

int64_t NowUnixMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string KindText(v1::EventKind kind) {
  const auto* value = v1::EventKind_descriptor()->FindValueByNumber(kind);
  return value == nullptr ? absl::StrCat(static_cast<int>(kind)) : EnumText(*value);
}

std::string OrDash(int64_t value) { return value == 0 ? "-" : absl::StrCat(value); }

// One event at a time, as it comes.
void PrintOne(const Context& context, const v1::LoggedEvent& event) {
  switch (context.options.output) {
    case OutputFormat::kTable:
      context.out << TimeText(event.unix_ms()) << "  step " << event.step() << "  " << KindText(event.kind())
                  << "  " << event.text() << std::endl;
      break;
    case OutputFormat::kJson:
      context.out << ToJson(event).dump() << std::endl;
      break;
    case OutputFormat::kYaml:
      context.out << "---\n" << YamlText(ToJson(event)) << std::flush;
      break;
  }
}

void PrintAll(const Context& context, const v1::ListEventsResponse& response) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const v1::LoggedEvent& event : response.events()) list.push_back(ToJson(event));
  if (PrintForPrograms(context, list)) return;
  Table table({"TIME", "STEP", "KIND", "PLAN", "WHAT"});
  for (const v1::LoggedEvent& event : response.events()) {
    table.Add({TimeText(event.unix_ms()), absl::StrCat(event.step()), KindText(event.kind()),
               OrDash(event.plan_version()), event.text()});
  }
  table.Print(context.out);
}

}  // namespace

absl::StatusOr<int64_t> ParseSince(const std::string& since, int64_t now_unix_ms) {
  absl::Time time;
  if (absl::ParseTime("%Y-%m-%d%ET%H:%M:%E*SZ", since, &time, nullptr)) return absl::ToUnixMillis(time);
  const std::string units = "smhd";
  const int64_t milliseconds[] = {1000, 60'000, 3'600'000, 86'400'000};
  const size_t unit = since.empty() ? std::string::npos : units.find(since.back());
  double count = 0;
  // At most a century, so that every sum fits.
  if (unit != std::string::npos && absl::SimpleAtod(since.substr(0, since.size() - 1), &count) &&
      count >= 0 && count * static_cast<double>(milliseconds[unit]) <= 3.2e12) {
    return now_unix_ms - static_cast<int64_t>(count * static_cast<double>(milliseconds[unit]));
  }
  return BadInput(absl::InvalidArgumentError(
      absl::StrCat("--since: found ", since, ", allowed an age as 15m or a time as 2026-01-31T18:00:00Z")));
}

std::string TimeText(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

absl::Status JobEvents(const Context& context, const JobEventsArguments& arguments) {
  v1::ListEventsRequest request;
  if (!arguments.since.empty()) {
    BALLAST_ASSIGN_OR_RETURN(int64_t since, ParseSince(arguments.since, NowUnixMs()));
    request.set_since_unix_ms(since);
  }
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.name));
  BALLAST_ASSIGN_OR_RETURN(v1::ListEventsResponse response,
                           client.Call(&v1::Control::Stub::ListEvents, request));
  if (response.dropped() > 0) {
    context.err << response.dropped() << " older events are not kept any more" << std::endl;
  }
  if (!arguments.follow) {
    PrintAll(context, response);
    return absl::OkStatus();
  }
  Waiter waiter(context.options);
  absl::StatusOr<v1::ListEventsResponse> news = std::move(response);
  while (true) {
    if (news.ok()) {
      for (const v1::LoggedEvent& event : news->events()) {
        PrintOne(context, event);
        request.set_after(event.number());
      }
      if (news->final()) return absl::OkStatus();
    }
    if (!waiter.Again(news.status(), absl::StrCat("job ", request.job()))) return waiter.result();
    news = client.Call(&v1::Control::Stub::ListEvents, request);
  }
}

}  // namespace ballast
