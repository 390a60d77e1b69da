// Credentials of the daemons and of ballastctl: mutual TLS from three PEM files that are read again when they
// change.
//
// Replace key and certificate by rename, so that no reader sees half a file. New handshakes use the new files
// within about two seconds; connections that stand keep what they were made with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace ballast {

struct CertificateFiles {
  std::string ca;         // certificates of the authorities that peers must come from
  std::string cert;       // own certificate chain, leaf first
  std::string key;        // own private key
  bool insecure = false;  // plaintext without any identity; the three files must then be empty
};

// InvalidArgument or NotFound with the option, the file and what is wrong: missing, unreadable, no PEM,
// expired, or a key that does not belong to the certificate. gRPC itself would only let every handshake fail.
absl::Status CheckCertificateFiles(const CertificateFiles& files);

// Server side: a client must show a certificate of the authority. Plaintext, with a warning in the log, only
// when `insecure` is set. Both check the files first.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const CertificateFiles& files);

// Client side: the server's certificate must come from the authority and name the host that was dialled.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const CertificateFiles& files);

// Unix time in seconds at which the leaf certificate in `path` expires; it may have expired.
absl::StatusOr<int64_t> CertificateExpiry(const std::string& path);

// "worker/w0" of the leaf certificate in `path`, as a server will see it; an error if it carries no ballast
// identity.
absl::StatusOr<std::string> IdentityInCertificate(const std::string& path);

}  // namespace ballast
