#include "ctl/certs.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/write_file.h"

namespace ballast {
namespace {

constexpr int kDaysMax = 3650;
constexpr size_t kNameBytesMax = 63;
constexpr size_t kHostBytesMax = 253;

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using CertificatePtr = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION, X509_EXTENSION_free>>;
using BioPtr = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;

absl::Status OpenSslError(const char* what) {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("OpenSSL: ", what, ": ", text));
}

struct KeyAndCertificate {
  KeyPtr key;
  CertificatePtr certificate;
};

// What a certificate is for. `alternative_names` is in the form of OpenSSL's configuration:
// "DNS:localhost,IP:127.0.0.1"; its parts are checked by the caller.
struct Subject {
  std::string common_name;
  bool authority = false;
  std::string extended_usage;
  std::string alternative_names;
};

absl::Status AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1)
    return OpenSslError(value.c_str());
  return absl::OkStatus();
}

absl::Status SetRandomSerial(X509* certificate) {
  BIGNUM* number = BN_new();
  // 127 bits: positive in DER, within the 20 bytes that are allowed.
  bool ok = number != nullptr && BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return ok ? absl::OkStatus() : OpenSslError("serial number");
}

// Signed by `issuer`, or by itself when that is null.
absl::StatusOr<KeyAndCertificate> Issue(const Subject& subject, int days, const KeyAndCertificate* issuer) {
  KeyAndCertificate out{KeyPtr(EVP_EC_gen("P-256")), CertificatePtr(X509_new())};
  X509* certificate = out.certificate.get();
  if (out.key == nullptr || certificate == nullptr) return OpenSslError("key");
  X509* issuer_certificate = issuer == nullptr ? certificate : issuer->certificate.get();
  EVP_PKEY* issuer_key = issuer == nullptr ? out.key.get() : issuer->key.get();

  X509_set_version(certificate, X509_VERSION_3);
  BALLAST_RETURN_IF_ERROR(SetRandomSerial(certificate));
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>("Ballast development"), -1, -1, 0);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(subject.common_name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer_certificate));
  X509_gmtime_adj(X509_getm_notBefore(certificate), -300);  // clocks of machines differ
  X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, nullptr);
  if (X509_set_pubkey(certificate, out.key.get()) != 1) return OpenSslError("public key");

  auto add = [&](int id, const std::string& value) {
    return AddExtension(certificate, issuer_certificate, id, value);
  };
  BALLAST_RETURN_IF_ERROR(
      add(NID_basic_constraints, subject.authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE"));
  BALLAST_RETURN_IF_ERROR(
      add(NID_key_usage, subject.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"));
  BALLAST_RETURN_IF_ERROR(add(NID_subject_key_identifier, "hash"));
  BALLAST_RETURN_IF_ERROR(add(NID_authority_key_identifier, "keyid"));
  if (!subject.extended_usage.empty())
    BALLAST_RETURN_IF_ERROR(add(NID_ext_key_usage, subject.extended_usage));
  if (!subject.alternative_names.empty())
    BALLAST_RETURN_IF_ERROR(add(NID_subject_alt_name, subject.alternative_names));
  if (X509_sign(certificate, issuer_key, EVP_sha256()) == 0) return OpenSslError("signature");
  return out;
}

absl::StatusOr<std::string> Pem(const KeyAndCertificate& pair, bool key) {
  BioPtr memory(BIO_new(BIO_s_mem()));
  int ok =
      key ? PEM_write_bio_PKCS8PrivateKey(memory.get(), pair.key.get(), nullptr, nullptr, 0, nullptr, nullptr)
          : PEM_write_bio_X509(memory.get(), pair.certificate.get());
  char* data = nullptr;
  long size = BIO_get_mem_data(memory.get(), &data);  // NOLINT: OpenSSL's type
  if (ok != 1 || size <= 0) return OpenSslError("PEM");
  return std::string(data, static_cast<size_t>(size));
}

// The rule of the identities in net/identity.h.
bool IsName(const std::string& text) {
  return !text.empty() && text.size() <= kNameBytesMax &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string::npos &&
         text.find_first_not_of('.') != std::string::npos;
}

bool IsAddress(const std::string& text) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 || inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

bool IsHostName(const std::string& text) {
  return !text.empty() && text.size() <= kHostBytesMax && text.front() != '.' && text.front() != '-' &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
             std::string::npos;
}

absl::Status CheckNames(const char* option, const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!IsName(name)) {
      return absl::InvalidArgumentError(absl::StrCat(option, ": found \"", name, "\", allowed 1 to ",
                                                     kNameBytesMax, " letters, digits, '.', '_' and '-'"));
    }
    if (!seen.insert(name).second)
      return absl::InvalidArgumentError(absl::StrCat(option, ": found ", name, " twice"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CoordinatorNames(const std::vector<std::string>& hosts) {
  std::string names = "URI:spiffe://ballast/coordinator,DNS:localhost,IP:127.0.0.1,IP:::1";
  for (const std::string& host : hosts) {
    bool address = IsAddress(host);
    if (!address && !IsHostName(host)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--hosts: found \"", host, "\", allowed host names and addresses without a port"));
    }
    absl::StrAppend(&names, ",", address ? "IP:" : "DNS:", host);
  }
  return names;
}

struct Leaf {
  std::string file;  // without .pem and .key
  Subject subject;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> WriteDevCertificates(const DevCertificates& request) {
  BALLAST_RETURN_IF_ERROR(CheckNames("--workers", request.workers));
  BALLAST_RETURN_IF_ERROR(CheckNames("--operators", request.operators));
  BALLAST_ASSIGN_OR_RETURN(std::string coordinator_names, CoordinatorNames(request.hosts));
  if (request.days < 1 || request.days > kDaysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--days: found ", request.days, ", allowed 1..", kDaysMax));
  }
  std::vector<Leaf> leaves = {{"coordinator", {"coordinator", false, "serverAuth", coordinator_names}}};
  for (const auto& [role, names] :
       {std::pair("worker", &request.workers), std::pair("operator", &request.operators)}) {
    for (const std::string& name : *names) {
      leaves.push_back({absl::StrCat(role, "-", name),
                        {name, false, "clientAuth", absl::StrCat("URI:spiffe://ballast/", role, "/", name)}});
    }
  }

  std::filesystem::path folder(request.folder);
  std::vector<std::string> paths = {folder / "ca.pem", folder / "ca.key"};
  for (const Leaf& leaf : leaves) {
    paths.push_back(folder / (leaf.file + ".pem"));
    paths.push_back(folder / (leaf.file + ".key"));
  }
  std::error_code error;
  for (const std::string& path : paths) {
    if (!request.force && std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
      return absl::AlreadyExistsError(absl::StrCat(path, " is there already; --force replaces it"));
    }
  }
  std::filesystem::create_directories(folder, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(request.folder, ": ", error.message()));

  // All in memory first: a failure leaves no half of a set.
  std::vector<std::string> contents;
  auto keep = [&](const KeyAndCertificate& pair) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(std::string certificate, Pem(pair, false));
    BALLAST_ASSIGN_OR_RETURN(std::string key, Pem(pair, true));
    contents.push_back(std::move(certificate));
    contents.push_back(std::move(key));
    return absl::OkStatus();
  };
  BALLAST_ASSIGN_OR_RETURN(KeyAndCertificate authority,
                           Issue({"Ballast development CA", true, "", ""}, request.days, nullptr));
  BALLAST_RETURN_IF_ERROR(keep(authority));
  for (const Leaf& leaf : leaves) {
    BALLAST_ASSIGN_OR_RETURN(KeyAndCertificate pair, Issue(leaf.subject, request.days, &authority));
    BALLAST_RETURN_IF_ERROR(keep(pair));
  }
  for (size_t i = 0; i < paths.size(); ++i) {
    bool key = i % 2 == 1;
    BALLAST_RETURN_IF_ERROR(WriteFileByRename(paths[i], contents[i], key ? 0600 : 0644));
  }
  return paths;
}

}  // namespace ballast
