// Two machines: network namespaces joined by a veth pair, each with its own loopback.
#pragma once

#include <string>

namespace ballast {

// The namespaces of this process: "near" has 10.77.x.1, "far" has 10.77.x.2. The test itself stays outside
// and reaches near over a link of its own, as an operator's laptop would: 10.78.x.1 and 10.78.x.3.
class TwoHosts {
 public:
  TwoHosts();
  ~TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  // False where namespaces cannot be made (needs root and veth).
  bool made() const { return made_; }
  std::string near() const;
  std::string far() const;
  std::string address(int host) const;
  std::string operator_address() const;  // of near
  // Nothing passes between near and far; false when that failed.
  bool CutLink() const;
  bool MendLink() const;

 private:
  const std::string tag_;
  const std::string net_;
  bool made_ = false;
};

}  // namespace ballast
