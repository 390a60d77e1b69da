#include "net/certificates.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "net/identity.h"

namespace ballast {
namespace {

constexpr unsigned int kRefreshSeconds = 1;

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using X509Ptr = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using FilePtr = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;

absl::StatusOr<FilePtr> Open(const char* option, const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        option, " is not set: give --ca, --cert and --key, or --insecure for plaintext without identities"));
  }
  errno = 0;
  FilePtr file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) {
    int error = errno;
    ERR_clear_error();
    std::string text = absl::StrCat(option, " ", path, ": ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(text) : absl::InvalidArgumentError(text);
  }
  return file;
}

absl::StatusOr<X509Ptr> ReadCertificate(const char* option, const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(FilePtr file, Open(option, path));
  X509Ptr certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(option, " ", path, ": no PEM certificate in it"));
  }
  return certificate;
}

absl::StatusOr<X509Ptr> ReadValidCertificate(const char* option, const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(X509Ptr certificate, ReadCertificate(option, path));
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return absl::InvalidArgumentError(absl::StrCat(option, " ", path, ": the certificate has expired"));
  }
  return certificate;
}

absl::StatusOr<KeyPtr> ReadKey(const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(FilePtr file, Open("--key", path));
  // An encrypted key would make OpenSSL ask on the terminal; a daemon has none.
  auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(file.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("--key ", path, ": no unencrypted PEM private key in it"));
  }
  return key;
}

std::shared_ptr<grpc::experimental::CertificateProviderInterface> Watch(const CertificateFiles& files) {
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                                              kRefreshSeconds);
}

}  // namespace

absl::Status CheckCertificateFiles(const CertificateFiles& files) {
  if (files.insecure) {
    if (files.ca.empty() && files.cert.empty() && files.key.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("--insecure excludes --ca, --cert and --key: choose one of the two");
  }
  BALLAST_RETURN_IF_ERROR(ReadValidCertificate("--ca", files.ca).status());
  BALLAST_ASSIGN_OR_RETURN(X509Ptr certificate, ReadValidCertificate("--cert", files.cert));
  BALLAST_ASSIGN_OR_RETURN(KeyPtr key, ReadKey(files.key));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat("--key ", files.key, ": is not the key of the certificate in --cert ", files.cert));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const CertificateFiles& files) {
  BALLAST_RETURN_IF_ERROR(CheckCertificateFiles(files));
  if (files.insecure) {
    Log(LogLevel::kWarning,
        "plaintext: anyone who reaches this port can control training; use --ca, --cert and --key");
    return grpc::InsecureServerCredentials();
  }
  grpc::experimental::TlsServerCredentialsOptions options(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const CertificateFiles& files) {
  BALLAST_RETURN_IF_ERROR(CheckCertificateFiles(files));
  if (files.insecure) {
    Log(LogLevel::kWarning,
        "plaintext: the coordinator's identity is not checked; use --ca, --cert and --key");
    return grpc::InsecureChannelCredentials();
  }
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

absl::StatusOr<int64_t> CertificateExpiry(const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(X509Ptr certificate, ReadCertificate("--cert", path));
  tm utc = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &utc) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat("--cert ", path, ": its date of expiry cannot be read"));
  }
  return static_cast<int64_t>(timegm(&utc));
}

absl::StatusOr<std::string> IdentityInCertificate(const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(X509Ptr certificate, ReadValidCertificate("--cert", path));
  auto free_names = [](GENERAL_NAMES* names) { GENERAL_NAMES_free(names); };
  std::unique_ptr<GENERAL_NAMES, decltype(free_names)> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)),
      free_names);
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                     static_cast<size_t>(ASN1_STRING_length(uri)));
    if (absl::StartsWith(text, kSpiffePrefix)) return text.substr(std::strlen(kSpiffePrefix));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--cert ", path, ": no subject alternative name URI:", kSpiffePrefix, "..."));
}

}  // namespace ballast
