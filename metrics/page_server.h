// PageServer: a few pages over HTTP or HTTPS, for probes and scrapes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

struct PageReply {
  int status = 200;
  std::string text;
  std::string content_type = "text/plain";
};
// Called on threads of the server, several at once.
using Page = std::function<PageReply()>;

// PEM files. Without `cert` and `key` the pages are plain HTTP. They are read again for every connection, so
// a replaced pair is used at once; replace by rename.
struct PageTls {
  std::string cert;       // chain, leaf first
  std::string key;        // its private key
  std::string client_ca;  // clients must show a certificate from here; empty = anybody may ask
  bool on() const { return !cert.empty() || !key.empty() || !client_ca.empty(); }
};

class PageServer {
 public:
  // `address` is HOST:PORT; port 0 takes a free one. `option` names it in errors: InvalidArgument for an
  // unusable address or pair of files, Unavailable when the port is taken.
  static absl::StatusOr<std::unique_ptr<PageServer>> Start(const std::string& option,
                                                           const std::string& address, const PageTls& tls,
                                                           std::map<std::string, Page> pages);
  virtual ~PageServer() = default;  // stops
  virtual int port() const = 0;
};

}  // namespace ballast
