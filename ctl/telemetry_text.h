// Telemetry of a job as tables for people.
#pragma once

#include <ostream>

#include "ballast/v1/control.pb.h"

namespace ballast {

// Puts the cursor of a terminal at its top and clears what is there.
inline constexpr char kClearScreen[] = "\033[H\033[2J";

void PrintTop(const v1::GetTelemetryResponse& telemetry, std::ostream& out);
void PrintTopology(const v1::TopologyStatus& topology, std::ostream& out);
void PrintLoad(const v1::GetLoadResponse& load, std::ostream& out);

}  // namespace ballast
