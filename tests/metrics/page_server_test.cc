#include "metrics/page_server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <openssl/x509.h>

#include <filesystem>
#include <string>

#include "base/check.h"
#include "ctl/certs.h"
#include "tests/base/temp_dir.h"

namespace ballast {
namespace {

class PagesOverTls : public testing::Test {
 protected:
  PagesOverTls() { Write(dir_ / "one"); }

  static void Write(const std::string& folder) {
    DevCertificates request;
    request.folder = folder;
    request.operators = {"me"};
    BALLAST_CHECK_OK(WriteDevCertificates(request).status());
  }
  PageTls Tls() const {
    return {.cert = dir_ / "one/coordinator.pem", .key = dir_ / "one/coordinator.key", .client_ca = {}};
  }
  static absl::StatusOr<std::unique_ptr<PageServer>> Serve(const PageTls& tls) {
    return PageServer::Start("--metrics-listen", "127.0.0.1:0", tls,
                             {{"/metrics", [] { return PageReply{.status = 200, .text = "text\n"}; }}});
  }
  // The page as a client that trusts the authority in `folder` gets it; empty without an answer.
  static std::string Get(int port, const std::string& folder, const std::string& as = "") {
    httplib::SSLClient client("127.0.0.1", port, as.empty() ? "" : folder + "/" + as + ".pem",
                              as.empty() ? "" : folder + "/" + as + ".key");
    client.set_ca_cert_path((folder + "/ca.pem").c_str());
    client.enable_server_certificate_verification(true);
    auto result = client.Get("/metrics");
    return result && result->status == 200 ? result->body : "";
  }

  TempDir dir_;
};

TEST_F(PagesOverTls, AreServedAndAPlainClientIsRefused) {
  auto server = Serve(Tls());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get((*server)->port(), dir_ / "one"), "text\n");
  httplib::Client plain("127.0.0.1", (*server)->port());
  EXPECT_FALSE(plain.Get("/metrics")) << "plaintext got an answer";
}

TEST_F(PagesOverTls, OnlyToClientsOfTheAuthorityWhenOneIsNamed) {
  PageTls tls = Tls();
  tls.client_ca = dir_ / "one/ca.pem";
  auto server = Serve(tls);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get((*server)->port(), dir_ / "one"), "");
  EXPECT_EQ(Get((*server)->port(), dir_ / "one", "operator-me"), "text\n");
}

TEST_F(PagesOverTls, ARotatedCertificateIsUsedAtOnce) {
  auto server = Serve(Tls());
  ASSERT_TRUE(server.ok()) << server.status();
  Write(dir_ / "two");
  EXPECT_EQ(Get((*server)->port(), dir_ / "two"), "") << "of an authority that is not in use yet";
  for (const char* name : {"/coordinator.pem", "/coordinator.key"}) {
    std::filesystem::rename((dir_ / "two") + name, (dir_ / "one") + name);
  }
  EXPECT_EQ(Get((*server)->port(), dir_ / "two"), "text\n");
}

TEST_F(PagesOverTls, WhatCannotBeServedIsSaid) {
  PageTls tls = Tls();
  tls.key = dir_ / "one/operator-me.key";
  EXPECT_NE(Serve(tls).status().message().find("is not the key of the certificate"), std::string::npos);
  tls.key = "";
  EXPECT_EQ(Serve(tls).status().message(),
            "--metrics-cert and --metrics-key: give both, or none for plain HTTP");
  EXPECT_EQ(PageServer::Start("--http", "here", {}, {}).status().message(),
            "--http: found \"here\", allowed: HOST:PORT");
}

TEST(Pages, PlainWithoutCertificates) {
  auto server = PageServer::Start("--http", "127.0.0.1:0", {},
                                  {{"/readyz", [] { return PageReply{.status = 503, .text = "no\n"}; }}});
  ASSERT_TRUE(server.ok()) << server.status();
  httplib::Client plain("127.0.0.1", (*server)->port());
  EXPECT_EQ(plain.Get("/readyz")->status, 503);
  EXPECT_EQ(plain.Get("/metrics")->status, 404);
}

}  // namespace
}  // namespace ballast
