// Transcripts: a file of events and the actions that the core must answer with, readable as documentation.
//
// Lines that begin with '>' are commands, '#' and empty lines are comments; what follows a command is its
// expected answer. Run with BALLAST_REWRITE_TRANSCRIPTS=1 to write the answers anew, then read the
// difference.
//
//   > lead                                  a (new) core wins leadership of the store
//   > attach STREAM WORKER [ranks=1] [incarnation=1] [protocol=1] [highest_term=N]
//          [job=J gen=G active=V staged=V digest=D step=S]
//   > close STREAM
//   > submit TOKEN JOB ranks=N [slots=N] [move_bytes=N] [steps=N] [plan_every=N] [ranks_min=N]
//          [recoveries=N]
//   > stop TOKEN JOB [now]
//   > push TOKEN JOB base=V [move=EXPERT:FROM:TO] [drop=EXPERT] [slot=RANK:INDEX:EXPERT] [schedule=NAME]
//          [homes=RANK] [not_before=S] [dry]
//   > rollback TOKEN JOB [to=V]
//   > drain|cordon|uncordon TOKEN WORKER
//   > adopt TOKEN
//   > staged STREAM JOB V [term=T] [incarnation=I] [digest=D]     (digest: that of the store unless given)
//   > rejected STREAM JOB V [lasting=1] REASON...
//   > active STREAM JOB V STEP
//   > started|finished|stopped|drained STREAM JOB [STEP]
//   > leaving STREAM - REASON...            the worker wants to end
//   > report STREAM JOB STEP LOADS...       tokens of the experts
//   > evaluation STREAM JOB STEP LOSS
//   > put STREAM JOB KEY VALUE
//   > lost STREAM JOB RANK DETAIL...
//   > failure STREAM JOB STEP CAUSE...
//   > gives-up STREAM JOB STEP CAUSE...     the same, and another generation may do better
//   > frozen STREAM JOB STEP [incarnation=I] [gen=G] [rank=R plan=V]    (rank: it holds that rank's state)
//   > time SECONDS                          the clock goes on and ticks
//   > store fenced|unknown|full             how the next write of the following command ends
//   > crash-before N                        the next command's actions from the Nth on never happen, and the
//                                           core is gone
//   > jobs | plans JOB | checkpoints JOB | events JOB | explain JOB [version=V] | telemetry JOB |
//     workers | leader                      what can be read
#pragma once

#include <string>

namespace ballast {

// The commands of `transcript`, each followed by the actual answers; comments stay.
std::string RunTranscript(const std::string& transcript);

}  // namespace ballast
