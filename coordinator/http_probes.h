// /healthz and /readyz over plain HTTP, for probes that cannot speak mutual TLS. Nothing else is served
// there.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace ballast {

class HttpProbes {
 public:
  // `address` is HOST:PORT; port 0 takes a free one. /healthz answers 200 while the process serves; /readyz
  // 200 or 503 as `ready` says, which is called on a thread of its own.
  static absl::StatusOr<std::unique_ptr<HttpProbes>> Start(const std::string& address,
                                                           std::function<bool()> ready);
  virtual ~HttpProbes() = default;  // stops
  virtual int port() const = 0;
};

}  // namespace ballast
