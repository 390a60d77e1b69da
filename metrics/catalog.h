// Every metric of the two daemons. What is registered comes from these tables, and docs/metrics.md is written
// from them.
//
// Rules: prefix ballast_, base units, counters end in _total. The job's label is `ballast_job`, because a
// scrape brings its own `job`. At the coordinator a rank has at most 8 series and a layer at most 20;
// histograms and what has a rank and a layer come from the workers; nothing has an expert, a layer and a
// rank.
#pragma once

#include <span>

#include "metrics/metric_info.h"

namespace ballast {

inline constexpr int kHotExperts = 4;  // slots of the hottest experts per layer

namespace metrics {

inline constexpr double kStepBuckets[] = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
inline constexpr double kRolloutBuckets[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300};
inline constexpr double kCommitBuckets[] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5};

// ---- both daemons ----

inline constexpr MetricInfo kBuildInfo{.name = "ballast_build_info",
                                       .labels = {"daemon", "version", "protocol"},
                                       .help = "1; the labels say what runs."};
inline constexpr MetricInfo kPlaintext{
    .name = "ballast_plaintext", .help = "1 when the daemon runs with --insecure: no TLS and no identities."};
inline constexpr MetricInfo kCertificateExpiry{
    .name = "ballast_certificate_expiry_timestamp_seconds",
    .unit = "seconds",
    .help = "Unix time at which the certificate in --cert expires, as the file says now."};
inline constexpr MetricInfo kWorkerInfo{
    .name = "ballast_worker_info",
    .labels = {"ballast_job", "rank", "worker", "node", "device"},
    .help = "1 per rank of a job that has not ended; joins ranks with workers, nodes and devices."};

// ---- coordinator ----

inline constexpr MetricInfo kLeading{.name = "ballast_coordinator_leading",
                                     .help = "1 while this coordinator decides; 0 while it refuses to lead."};
inline constexpr MetricInfo kTerm{.name = "ballast_coordinator_term", .help = "Term it leads with."};
inline constexpr MetricInfo kStoreCommit{.name = "ballast_store_commit_seconds",
                                         .type = MetricType::kHistogram,
                                         .unit = "seconds",
                                         .help = "Time until a transaction of the store was durable.",
                                         .buckets = kCommitBuckets};
inline constexpr MetricInfo kStoreFailures{
    .name = "ballast_store_commit_failures_total",
    .type = MetricType::kCounter,
    .help = "Transactions that failed or whose result is unknown; the coordinator ends after one."};
inline constexpr MetricInfo kPlanStates{
    .name = "ballast_plan_transitions_total",
    .type = MetricType::kCounter,
    .labels = {"ballast_job", "state"},
    .help =
        "Plans that reached a state since this coordinator runs: proposed, committed, active, aborted, "
        "rejected (aborted because a worker refused it), superseded (a newer one came, or its generation "
        "ended)."};
inline constexpr MetricInfo kPlanStaging{
    .name = "ballast_plan_staging_seconds",
    .type = MetricType::kHistogram,
    .unit = "seconds",
    .help = "From a plan's proposal until every rank had promised it and it was committed.",
    .buckets = kRolloutBuckets};
inline constexpr MetricInfo kPlanSwitch{
    .name = "ballast_plan_switch_seconds",
    .type = MetricType::kHistogram,
    .unit = "seconds",
    .help = "From a plan's commit until every rank had reported it active.",
    .buckets = kRolloutBuckets};
inline constexpr MetricInfo kJobEvents{
    .name = "ballast_job_events_total",
    .type = MetricType::kCounter,
    .labels = {"ballast_job", "kind"},
    .help =
        "Events of the job's log since this coordinator runs, by kind: state, plan, alarm, member, recovery, "
        "checkpoint, request, leader."};
inline constexpr MetricInfo kReportsRejected{
    .name = "ballast_reports_rejected_total",
    .type = MetricType::kCounter,
    .labels = {"ballast_job"},
    .help = "Telemetry reports of workers that were refused because a field of theirs cannot be."};

inline constexpr MetricInfo kJobState{
    .name = "ballast_job_state",
    .labels = {"ballast_job", "state"},
    .help = "1 for the state that the job is in. Of the jobs that have ended, the last 16 are shown."};
inline constexpr MetricInfo kJobStep{
    .name = "ballast_job_step", .labels = {"ballast_job"}, .help = "Steps completed, as reported."};
inline constexpr MetricInfo kJobSteps{
    .name = "ballast_job_steps", .labels = {"ballast_job"}, .help = "Steps to train."};
inline constexpr MetricInfo kJobLoss{.name = "ballast_job_loss",
                                     .labels = {"ballast_job"},
                                     .help = "Mean cross-entropy per token of the last step, in nats."};
inline constexpr MetricInfo kJobGradientNorm{.name = "ballast_job_gradient_norm",
                                             .labels = {"ballast_job"},
                                             .help = "Norm of the last step's gradient, before clipping."};
inline constexpr MetricInfo kJobTokenRate{.name = "ballast_job_tokens_per_second",
                                          .labels = {"ballast_job"},
                                          .help = "Tokens per second of the last step."};
inline constexpr MetricInfo kJobImbalance{
    .name = "ballast_job_imbalance_ratio",
    .unit = "ratio",
    .labels = {"ballast_job"},
    .help = "Busiest rank over mean rank, mean over the layers, as the last step ran."};
inline constexpr MetricInfo kJobContiguousImbalance{
    .name = "ballast_job_contiguous_imbalance_ratio",
    .unit = "ratio",
    .labels = {"ballast_job"},
    .help = "The same for the last step's counts under the contiguous plan."};
inline constexpr MetricInfo kJobRemaining{.name = "ballast_job_remaining_seconds",
                                          .unit = "seconds",
                                          .labels = {"ballast_job"},
                                          .help = "Until the last step, at the recent pace; 0 = not known."};
inline constexpr MetricInfo kJobTokens{.name = "ballast_job_trained_tokens_total",
                                       .type = MetricType::kCounter,
                                       .labels = {"ballast_job"},
                                       .help = "Tokens trained, over all coordinators and generations."};
inline constexpr MetricInfo kJobGeneration{.name = "ballast_job_generation",
                                           .labels = {"ballast_job"},
                                           .help = "Newest generation; each one is another membership."};
inline constexpr MetricInfo kJobPlan{
    .name = "ballast_job_plan_version", .labels = {"ballast_job"}, .help = "Version of the active plan."};
inline constexpr MetricInfo kJobPlanInFlight{
    .name = "ballast_job_plan_in_flight",
    .labels = {"ballast_job", "state"},
    .help = "1 while a plan is in the state: proposed (being staged) or committed (not active everywhere)."};
inline constexpr MetricInfo kJobSlotWrites{.name = "ballast_job_slot_writes_total",
                                           .type = MetricType::kCounter,
                                           .labels = {"ballast_job"},
                                           .help =
                                               "Slots that got another expert by plans that became "
                                               "active."};
inline constexpr MetricInfo kJobEvaluation{.name = "ballast_job_evaluation_loss",
                                           .labels = {"ballast_job", "source"},
                                           .help = "Newest mean held-out loss of a data source, in nats."};

inline constexpr MetricInfo kRankStep{.name = "ballast_rank_step_seconds",
                                      .unit = "seconds",
                                      .labels = {"ballast_job", "rank"},
                                      .help = "Time of the rank's newest reported step."};
inline constexpr MetricInfo kRankWait{
    .name = "ballast_rank_wait_seconds",
    .unit = "seconds",
    .labels = {"ballast_job", "rank"},
    .help = "Of it, time in which the rank was blocked until its peers' messages were there."};
inline constexpr MetricInfo kRankAssignments{
    .name = "ballast_rank_assignments",
    .labels = {"ballast_job", "rank"},
    .help = "(token, expert) rows that the rank computed in that step, over all layers."};
inline constexpr MetricInfo kRankSpeed{
    .name = "ballast_rank_speed_ratio",
    .unit = "ratio",
    .labels = {"ballast_job", "rank"},
    .help =
        "Speed of the rank's experts that plans count on, of a healthy rank's; below 1 it was found slow."};
inline constexpr MetricInfo kSlowLinks{
    .name = "ballast_slow_links",
    .labels = {"ballast_job"},
    .help = "Directions between two nodes whose bandwidth was found below that of the others."};
inline constexpr MetricInfo kStepPredicted{
    .name = "ballast_job_predicted_step_seconds",
    .unit = "seconds",
    .labels = {"ballast_job"},
    .help = "What a step was predicted to take, of the newest plan that was predicted and ran."};
inline constexpr MetricInfo kStepMeasured{.name = "ballast_job_measured_step_seconds",
                                          .unit = "seconds",
                                          .labels = {"ballast_job"},
                                          .help = "Median of that plan's first steps."};
inline constexpr MetricInfo kWorkerAttached{
    .name = "ballast_worker_attached", .labels = {"worker"}, .help = "1 while the worker's stream is open."};
inline constexpr MetricInfo kWorkerDropped{
    .name = "ballast_worker_reports_dropped_total",
    .type = MetricType::kCounter,
    .labels = {"worker"},
    .help = "Reports that the worker's present process dropped while it could not send, as it said last."};

inline constexpr MetricInfo kLayerImbalance{.name = "ballast_layer_imbalance_ratio",
                                            .unit = "ratio",
                                            .labels = {"ballast_job", "layer"},
                                            .help =
                                                "Busiest rank over mean rank in the layer, as the last "
                                                "step ran."};
inline constexpr MetricInfo kLayerVariation{
    .name = "ballast_layer_expert_variation_ratio",
    .unit = "ratio",
    .labels = {"ballast_job", "layer"},
    .help = "Standard deviation of the experts' assignments over their mean, of the last step."};
inline constexpr MetricInfo kHotShare{
    .name = "ballast_layer_hot_expert_share_ratio",
    .unit = "ratio",
    .labels = {"ballast_job", "layer", "slot"},
    .help =
        "Share of the layer's assignments that went to its hottest expert (slot 1), the next, to slot 4."};
inline constexpr MetricInfo kHotExpert{.name = "ballast_layer_hot_expert_index",
                                       .labels = {"ballast_job", "layer", "slot"},
                                       .help = "Which expert that is."};

inline constexpr const MetricInfo* kCoordinatorCatalog[] = {
    &kBuildInfo,       &kPlaintext,       &kCertificateExpiry, &kLeading,        &kTerm,
    &kStoreCommit,     &kStoreFailures,   &kPlanStates,        &kPlanStaging,    &kPlanSwitch,
    &kJobEvents,       &kReportsRejected, &kJobState,          &kJobStep,        &kJobSteps,
    &kJobLoss,         &kJobGradientNorm, &kJobTokenRate,      &kJobImbalance,   &kJobContiguousImbalance,
    &kJobRemaining,    &kJobTokens,       &kJobGeneration,     &kJobPlan,        &kJobPlanInFlight,
    &kJobSlotWrites,   &kJobEvaluation,   &kWorkerInfo,        &kRankStep,       &kRankWait,
    &kRankAssignments, &kRankSpeed,       &kSlowLinks,         &kStepPredicted,  &kStepMeasured,
    &kWorkerAttached,  &kWorkerDropped,   &kLayerImbalance,    &kLayerVariation, &kHotShare,
    &kHotExpert};

// ---- worker ----

inline constexpr MetricInfo kAttached{.name = "ballast_attached",
                                      .help = "1 while the coordinator has welcomed this worker's stream."};
inline constexpr MetricInfo kDropped{
    .name = "ballast_reports_dropped_total",
    .type = MetricType::kCounter,
    .help = "Reports dropped because too many waited while the coordinator was away; the oldest go first."};
inline constexpr MetricInfo kStepSeconds{.name = "ballast_step_seconds",
                                         .type = MetricType::kHistogram,
                                         .unit = "seconds",
                                         .labels = {"ballast_job", "rank"},
                                         .help = "Time of a step of a rank.",
                                         .buckets = kStepBuckets};
inline constexpr MetricInfo kPhaseSeconds{
    .name = "ballast_phase_seconds_total",
    .type = MetricType::kCounter,
    .unit = "seconds",
    .labels = {"ballast_job", "rank", "phase"},
    .help = "Time of the rank by phase of the step; the phases exclude each other and add up to the steps."};
inline constexpr MetricInfo kWaitSeconds{
    .name = "ballast_wait_seconds_total",
    .type = MetricType::kCounter,
    .unit = "seconds",
    .labels = {"ballast_job", "rank"},
    .help = "Time in which the rank was blocked until its peers' messages were there; part of the phases."};
inline constexpr MetricInfo kSentBytes{.name = "ballast_sent_bytes_total",
                                       .type = MetricType::kCounter,
                                       .unit = "bytes",
                                       .labels = {"ballast_job", "rank"},
                                       .help = "Sent by the rank to other ranks."};
inline constexpr MetricInfo kReceivedBytes{.name = "ballast_received_bytes_total",
                                           .type = MetricType::kCounter,
                                           .unit = "bytes",
                                           .labels = {"ballast_job", "rank"},
                                           .help = "Received by the rank from other ranks."};
inline constexpr MetricInfo kLayerAssignments{
    .name = "ballast_layer_assignments_total",
    .type = MetricType::kCounter,
    .labels = {"ballast_job", "rank", "layer"},
    .help = "(token, expert) rows that the rank computed in the layer."};
inline constexpr MetricInfo kLinkLatency{
    .name = "ballast_link_latency_seconds",
    .unit = "seconds",
    .labels = {"ballast_job", "from_node", "to_node"},
    .help = "One way, as this worker last probed the link. At most 64 links of a worker are shown."};
inline constexpr MetricInfo kLinkBandwidth{.name = "ballast_link_bandwidth_bytes_per_second",
                                           .unit = "bytes per second",
                                           .labels = {"ballast_job", "from_node", "to_node"},
                                           .help = "Of large messages, as this worker last probed the link."};
inline constexpr MetricInfo kProbeFailures{.name = "ballast_link_probe_failures_total",
                                           .type = MetricType::kCounter,
                                           .help =
                                               "Probes of links that this worker began and that ended "
                                               "without a result."};

// Of the devices that the worker's ranks are on, where NVML tells.
inline constexpr MetricInfo kDevicePower{.name = "ballast_device_power_watts",
                                         .unit = "watts",
                                         .labels = {"device"},
                                         .help = "Power that the device draws."};
inline constexpr MetricInfo kDeviceTemperature{.name = "ballast_device_temperature_celsius",
                                               .unit = "celsius",
                                               .labels = {"device"},
                                               .help = "Temperature of the device's chip."};
inline constexpr MetricInfo kDeviceSmClock{.name = "ballast_device_sm_clock_hertz",
                                           .unit = "hertz",
                                           .labels = {"device"},
                                           .help = "Clock of the device's multiprocessors."};
inline constexpr MetricInfo kDeviceUtilization{
    .name = "ballast_device_utilization_ratio",
    .labels = {"device"},
    .help = "Share of the last moments in which a kernel ran, by any process."};
inline constexpr MetricInfo kDeviceMemoryUsed{.name = "ballast_device_memory_used_bytes",
                                              .unit = "bytes",
                                              .labels = {"device"},
                                              .help = "Memory of the device in use, by any process."};
inline constexpr MetricInfo kDeviceThrottled{
    .name = "ballast_device_throttled",
    .labels = {"device", "reason"},
    .help =
        "1 while the device's clocks are held down for the reason: power_cap, hardware, thermal, "
        "power_brake, sync_boost."};
inline constexpr MetricInfo kDeviceEccErrors{
    .name = "ballast_device_ecc_uncorrected_total",
    .type = MetricType::kCounter,
    .labels = {"device"},
    .help = "Memory errors that could not be corrected, since the driver was loaded."};

inline constexpr const MetricInfo* kWorkerCatalog[] = {
    &kBuildInfo,       &kPlaintext,         &kCertificateExpiry, &kAttached,          &kDropped,
    &kWorkerInfo,      &kStepSeconds,       &kPhaseSeconds,      &kWaitSeconds,       &kSentBytes,
    &kReceivedBytes,   &kLayerAssignments,  &kLinkLatency,       &kLinkBandwidth,     &kProbeFailures,
    &kDevicePower,     &kDeviceTemperature, &kDeviceSmClock,     &kDeviceUtilization, &kDeviceMemoryUsed,
    &kDeviceThrottled, &kDeviceEccErrors};

}  // namespace metrics
}  // namespace ballast
