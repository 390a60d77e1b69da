// The telemetry messages of the session stream <-> protobuf; parts of convert_session.h.
#pragma once

#include "ballast/v1/session.pb.h"
#include "protocol/telemetry.h"
#include "protocol/token_sampling.h"
#include "wire/convert_ids.h"

namespace ballast {

void Fill(const RankReport& report, v1::RankReport* out);
void Fill(const LinkReport& report, v1::LinkReport* out);
void Fill(const TokenReport& report, v1::TokenReport* out);

// Complain to `ids` with the field; what they return is then of no use.
RankReport ReadRankReport(const v1::RankReport& report, IdReader& ids);
LinkReport ReadLinkReport(const v1::LinkReport& report, IdReader& ids);
TokenReport ReadTokenReport(const v1::TokenReport& report, IdReader& ids);

}  // namespace ballast
