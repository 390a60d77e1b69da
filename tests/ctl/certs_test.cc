// Development certificates: what is in them, and what is left alone.
#include "ctl/certs.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "net/certificates.h"
#include "net/identity.h"
#include "tests/base/temp_dir.h"

namespace ballast {
namespace {

struct FreeX509 {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using CertificatePtr = std::unique_ptr<X509, FreeX509>;

CertificatePtr Load(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return nullptr;
  CertificatePtr certificate(PEM_read_X509(file, nullptr, nullptr, nullptr));
  std::fclose(file);
  return certificate;
}

std::set<std::string> AlternativeNames(X509* certificate) {
  std::set<std::string> names;
  auto* list =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    int type = 0;
    auto* value = static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(name, &type));
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                     static_cast<size_t>(ASN1_STRING_length(value)));
    names.insert((type == GEN_URI     ? "URI:"
                  : type == GEN_DNS   ? "DNS:"
                  : type == GEN_IPADD ? "IP:"
                                      : "?:") +
                 text);
  }
  GENERAL_NAMES_free(list);
  return names;
}

std::string Content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

DevCertificates Request(const TempDir& folder) {
  DevCertificates request;
  request.folder = folder.path() + "/certs";
  request.workers = {"w0", "w1"};
  request.operators = {"me"};
  return request;
}

TEST(DevCertificates, CarryTheirIdentities) {
  TempDir folder;
  DevCertificates request = Request(folder);
  request.hosts = {"coordinator.example", "10.1.2.3", "fd00::7"};
  auto paths = WriteDevCertificates(request);
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_EQ(paths->size(), 10u);
  CertificatePtr authority = Load(request.folder + "/ca.pem");
  ASSERT_NE(authority, nullptr);
  EXPECT_EQ(X509_check_ca(authority.get()), 1);

  CertificatePtr coordinator = Load(request.folder + "/coordinator.pem");
  EXPECT_EQ(
      AlternativeNames(coordinator.get()),
      (std::set<std::string>{"URI:spiffe://ballast/coordinator", "DNS:localhost", "DNS:coordinator.example",
                             std::string("IP:\x7f\0\0\1", 7), std::string("IP:\x0a\1\2\3", 7),
                             std::string("IP:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 19),
                             std::string("IP:\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7", 19)}));
  EXPECT_EQ(AlternativeNames(Load(request.folder + "/worker-w1.pem").get()),
            std::set<std::string>{"URI:spiffe://ballast/worker/w1"});
  EXPECT_EQ(AlternativeNames(Load(request.folder + "/operator-me.pem").get()),
            std::set<std::string>{"URI:spiffe://ballast/operator/me"});
  for (const char* name : {"coordinator", "worker-w0", "worker-w1", "operator-me"}) {
    CertificatePtr leaf = Load(request.folder + "/" + name + ".pem");
    EXPECT_EQ(X509_verify(leaf.get(), X509_get0_pubkey(authority.get())), 1) << name;
    EXPECT_EQ(X509_check_ca(leaf.get()), 0) << name;
    // The daemons' own check of a set of files takes them.
    CertificateFiles files{request.folder + "/ca.pem", request.folder + "/" + name + ".pem",
                           request.folder + "/" + name + ".key", false};
    EXPECT_TRUE(CheckCertificateFiles(files).ok()) << CheckCertificateFiles(files);
  }
  auto identity = ParseSpiffe("spiffe://ballast/worker/w1");
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->name, "w1");
}

TEST(DevCertificates, KeysAreForTheOwnerAlone) {
  TempDir folder;
  umask(0);  // the mode must not depend on it
  auto paths = WriteDevCertificates(Request(folder));
  umask(022);
  ASSERT_TRUE(paths.ok()) << paths.status();
  for (const std::string& path : *paths) {
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    bool key = path.substr(path.size() - 4) == ".key";
    EXPECT_EQ(info.st_mode & 0777, key ? 0600u : 0644u) << path;
  }
  // Nothing but what was named, and no temporary file.
  size_t files = 0;
  for (auto it = std::filesystem::directory_iterator(folder.path() + "/certs");
       it != std::filesystem::directory_iterator(); ++it) {
    ++files;
  }
  EXPECT_EQ(files, paths->size());
}

TEST(DevCertificates, NothingIsOverwrittenWithoutForce) {
  TempDir folder;
  DevCertificates request = Request(folder);
  ASSERT_TRUE(WriteDevCertificates(request).ok());
  std::string before = Content(request.folder + "/ca.pem");
  request.workers = {"new"};
  auto refused = WriteDevCertificates(request);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(refused.status().message(), request.folder + "/ca.pem is there already; --force replaces it");
  EXPECT_EQ(Content(request.folder + "/ca.pem"), before);
  EXPECT_FALSE(std::filesystem::exists(request.folder + "/worker-new.pem"));
  request.force = true;
  ASSERT_TRUE(WriteDevCertificates(request).ok());
  EXPECT_NE(Content(request.folder + "/ca.pem"), before);
}

TEST(DevCertificates, BadRequests) {
  TempDir folder;
  auto error = [&](auto change) {
    DevCertificates request = Request(folder);
    change(request);
    return std::string(WriteDevCertificates(request).status().message());
  };
  const std::string names = ", allowed 1 to 63 letters, digits, '.', '_' and '-'";
  EXPECT_EQ(error([](auto& r) { r.workers = {"a/b"}; }), "--workers: found \"a/b\"" + names);
  EXPECT_EQ(error([](auto& r) { r.workers = {".."}; }), "--workers: found \"..\"" + names);
  EXPECT_EQ(error([](auto& r) { r.workers = {"a", "a"}; }), "--workers: found a twice");
  EXPECT_EQ(error([](auto& r) { r.operators = {"x,DNS:evil"}; }),
            "--operators: found \"x,DNS:evil\"" + names);
  EXPECT_EQ(error([](auto& r) { r.hosts = {"h:7070"}; }),
            "--hosts: found \"h:7070\", allowed host names and addresses without a port");
  EXPECT_EQ(error([](auto& r) { r.hosts = {"h,URI:spiffe://ballast/operator/x"}; }),
            "--hosts: found \"h,URI:spiffe://ballast/operator/x\", allowed host names and addresses without "
            "a port");
  EXPECT_EQ(error([](auto& r) { r.days = 0; }), "--days: found 0, allowed 1..3650");
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/certs"));
}

}  // namespace
}  // namespace ballast
