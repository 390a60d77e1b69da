#include "wire/convert_telemetry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ballast {

void Fill(const RankReport& report, v1::RankReport* out) {
  out->set_job(report.job.value());
  out->set_generation(report.generation.value());
  out->set_rank(report.rank.value());
  for (const RankStep& step : report.steps) {
    v1::RankStep* to = out->add_steps();
    to->set_step(step.step.value());
    to->set_seconds(step.seconds);
    to->set_wait_seconds(step.wait_seconds);
    to->set_assignments(step.assignments);
    to->set_bytes_sent(step.bytes_sent);
    to->set_bytes_received(step.bytes_received);
    for (double seconds : step.phase_seconds) to->add_phase_seconds(seconds);
    for (const LinkUse& link : step.links) {
      v1::LinkUse* use = to->add_links();
      use->set_peer(link.peer.value());
      use->set_bytes_sent(link.bytes_sent);
      use->set_bytes_received(link.bytes_received);
      use->set_receive_seconds(link.receive_seconds);
      use->set_timed_messages(link.timed_messages);
      use->set_timed_bytes(link.timed_bytes);
      use->set_timed_seconds(link.timed_seconds);
    }
  }
  out->set_reports_dropped(report.reports_dropped);
}

RankReport ReadRankReport(const v1::RankReport& report, IdReader& ids) {
  RankReport out;
  out.job = JobId(report.job());
  out.generation = ids.Get<Generation>("generation", report.generation());
  out.rank = ids.Get<Rank>("rank", report.rank());
  for (const v1::RankStep& step : report.steps()) {
    RankStep& to = out.steps.emplace_back();
    to.step = ids.Get<Step>("steps.step", step.step());
    to.seconds = step.seconds();
    to.wait_seconds = step.wait_seconds();
    to.assignments = step.assignments();
    to.bytes_sent = step.bytes_sent();
    to.bytes_received = step.bytes_received();
    if (step.phase_seconds_size() == static_cast<int>(kPhases)) {
      std::copy(step.phase_seconds().begin(), step.phase_seconds().end(), to.phase_seconds.begin());
    } else {
      ids.Complain("steps.phase_seconds",
                   absl::StrCat("found ", step.phase_seconds_size(), " numbers, allowed ", kPhases));
    }
    for (const v1::LinkUse& link : step.links()) {
      to.links.push_back({ids.Get<Rank>("steps.links.peer", link.peer()), link.bytes_sent(),
                          link.bytes_received(), link.receive_seconds(), link.timed_messages(),
                          link.timed_bytes(), link.timed_seconds()});
    }
  }
  out.reports_dropped = report.reports_dropped();
  return out;
}

void Fill(const LinkReport& report, v1::LinkReport* out) {
  out->set_job(report.job.value());
  out->set_generation(report.generation.value());
  for (const LinkProbe& link : report.links) {
    v1::LinkProbe* to = out->add_links();
    to->set_from(link.from.value());
    to->set_to(link.to.value());
    to->set_latency_seconds(link.latency_seconds);
    to->set_bytes_per_second(link.bytes_per_second);
    to->set_failure(link.failure);
  }
}

LinkReport ReadLinkReport(const v1::LinkReport& report, IdReader& ids) {
  LinkReport out;
  out.job = JobId(report.job());
  out.generation = ids.Get<Generation>("generation", report.generation());
  for (const v1::LinkProbe& link : report.links()) {
    out.links.push_back({ids.Get<Rank>("links.from", link.from()), ids.Get<Rank>("links.to", link.to()),
                         link.latency_seconds(), link.bytes_per_second(), link.failure()});
  }
  return out;
}

void Fill(const TokenReport& report, v1::TokenReport* out) {
  out->set_job(report.job.value());
  out->set_generation(report.generation.value());
  out->set_rank(report.rank.value());
  out->set_step(report.step.value());
  out->set_tokens(report.tokens);
  out->mutable_choices()->Add(report.choices.begin(), report.choices.end());
}

TokenReport ReadTokenReport(const v1::TokenReport& report, IdReader& ids) {
  TokenReport out;
  out.job = JobId(report.job());
  out.generation = ids.Get<Generation>("generation", report.generation());
  out.rank = ids.Get<Rank>("rank", report.rank());
  out.step = ids.Get<Step>("step", report.step());
  out.tokens = report.tokens();
  if (report.tokens() < 0 || report.tokens() > kSampledTokensMax) {
    ids.Complain("tokens", absl::StrCat("found ", report.tokens(), ", allowed 0..", kSampledTokensMax));
  }
  if (report.choices_size() > kSampledChoicesMax) {
    ids.Complain("choices", absl::StrCat("found ", report.choices_size(), " experts, allowed at most ",
                                         kSampledChoicesMax));
    return out;
  }
  out.choices.reserve(static_cast<size_t>(report.choices_size()));
  for (int i = 0; i < report.choices_size(); ++i) {
    if (report.choices(i) > UINT16_MAX) {
      ids.Complain(absl::StrCat("choices[", i, "]"),
                   absl::StrCat("found ", report.choices(i), ", allowed 0..", UINT16_MAX));
    }
    out.choices.push_back(static_cast<uint16_t>(report.choices(i)));
  }
  return out;
}

}  // namespace ballast
