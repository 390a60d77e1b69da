// Settings that both ends of a connection must agree on, and the bounds of what waits.
#pragma once

#include <chrono>
#include <cstddef>

namespace grpc {
class ChannelArguments;
class ServerBuilder;
}  // namespace grpc

namespace ballast {

// A plan of 58 layers x 288 slots is about 70 kB; step reports of the same size about 120 kB.
inline constexpr int kMessageBytesMax = 32 << 20;

// Heartbeats go both ways on a session stream; a stream without any message for the lease is closed and
// opened again.
inline constexpr std::chrono::milliseconds kHeartbeatPeriod{2000};
inline constexpr std::chrono::milliseconds kLease{15000};

inline constexpr std::chrono::seconds kUnaryDeadline{10};    // of a request inside the coordinator
inline constexpr std::chrono::seconds kShutdownDeadline{5};  // of open calls when the coordinator stops

inline constexpr size_t kControlWaitingMax = 4096;    // messages of one stream
inline constexpr size_t kTelemetryWaitingMax = 1024;  // step and evaluation reports of one stream

// Call at the start of main. The distribution's Abseil is built with checks that look for deadlocks in the
// order of all locks taken, gRPC's among them: a tenth of the time of a coordinator of hundreds of workers.
void TrustLocks();

// Client: keepalive every 20 s, 10 s to answer, also without calls. The server's minimum interval must be
// strictly lower, or jitter counts as abuse and closes the connection. Connecting may take 5 s.
void ApplyLimits(grpc::ChannelArguments& arguments);
void ApplyLimits(grpc::ServerBuilder& builder);

}  // namespace ballast
