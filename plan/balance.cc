#include "plan/balance.h"

#include "base/check.h"
#include "plan/balance_solver.h"

namespace ballast {

Quotas BalanceExactly(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
                      const std::vector<uint32_t>& speeds, const TokenSources* sources) {
  BALLAST_CHECK(tokens.size() == hosts.size())
      << tokens.size() << " loads, " << hosts.size() << " host lists";
  const Copies copies = Copies::OfHosts(hosts);
  const std::vector<int64_t> flat = BalanceCopies(tokens, copies, speeds, sources);
  Quotas quotas(hosts.size());
  for (size_t e = 0; e < hosts.size(); ++e)
    quotas[e].assign(flat.begin() + copies.begin[e], flat.begin() + copies.begin[e + 1]);
  return quotas;
}

std::vector<int64_t> BalanceCopies(const std::vector<int64_t>& tokens, const Copies& copies,
                                   const std::vector<uint32_t>& speeds, const TokenSources* sources) {
  std::vector<int64_t> quotas;
  BalanceSolver().Solve(tokens, copies, speeds, sources, quotas);
  return quotas;
}

std::vector<int64_t> RankTokens(const Quotas& quotas, const std::vector<std::vector<Rank>>& hosts,
                                int ranks) {
  std::vector<int64_t> tokens(static_cast<size_t>(ranks), 0);
  for (size_t e = 0; e < quotas.size(); ++e) {
    for (size_t i = 0; i < quotas[e].size(); ++i) tokens[hosts[e][i].index()] += quotas[e][i];
  }
  return tokens;
}

}  // namespace ballast
