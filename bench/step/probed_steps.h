// What link probes that run beside the steps cost them.
#pragma once

namespace ballast {

// Trains on two ranks over Gloo on loopback, in turns of some steps: without probes, and with a prober of the
// first rank's node that visits the second's without a pause. Prints the medians of both and their ratio,
// what one visit takes, and what the ratio makes of one visit a minute, which is a daemon's duty for each
// peer.
void PrintProbedSteps();

}  // namespace ballast
