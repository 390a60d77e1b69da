#include "metrics/page_server.h"

#include <httplib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr int kThreads = 2;

// For every handshake the files as they are now: 1 = go on, 0 = refuse.
int UseCertificate(SSL* ssl, void* argument) {
  const auto& tls = *static_cast<const PageTls*>(argument);
  const bool usable = SSL_use_certificate_chain_file(ssl, tls.cert.c_str()) == 1 &&
                      SSL_use_PrivateKey_file(ssl, tls.key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                      SSL_check_private_key(ssl) == 1;
  ERR_clear_error();
  return usable ? 1 : 0;
}

bool SetUp(SSL_CTX& context, PageTls* tls) {
  SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
  SSL_CTX_set_cert_cb(&context, UseCertificate, tls);
  if (tls->client_ca.empty()) return true;
  // One CA for the life of the process: SSL offers no callback for it.
  if (SSL_CTX_load_verify_locations(&context, tls->client_ca.c_str(), nullptr) != 1) return false;
  SSL_CTX_set_client_CA_list(&context, SSL_load_client_CA_file(tls->client_ca.c_str()));
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return true;
}

// What a handshake would only refuse without a word.
absl::Status CheckTls(const PageTls& tls) {
  if (!tls.on()) return absl::OkStatus();
  if (tls.cert.empty() || tls.key.empty()) {
    return absl::InvalidArgumentError("--metrics-cert and --metrics-key: give both, or none for plain HTTP");
  }
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  absl::Status status;
  if (SSL_CTX_use_certificate_chain_file(context.get(), tls.cert.c_str()) != 1) {
    status = absl::InvalidArgumentError(
        absl::StrCat("--metrics-cert ", tls.cert, ": cannot be read, or has no PEM certificate"));
  } else if (SSL_CTX_use_PrivateKey_file(context.get(), tls.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context.get()) != 1) {
    status = absl::InvalidArgumentError(absl::StrCat(
        "--metrics-key ", tls.key, ": cannot be read, or is not the key of the certificate in ", tls.cert));
  } else if (!tls.client_ca.empty() &&
             SSL_CTX_load_verify_locations(context.get(), tls.client_ca.c_str(), nullptr) != 1) {
    status = absl::InvalidArgumentError(
        absl::StrCat("--metrics-client-ca ", tls.client_ca, ": cannot be read, or has no PEM certificate"));
  }
  ERR_clear_error();
  return status;
}

class Pages final : public PageServer {
 public:
  Pages(PageTls tls, std::map<std::string, Page> pages) : tls_(std::move(tls)) {
    if (tls_.on()) {
      server_ =
          std::make_unique<httplib::SSLServer>([this](SSL_CTX& context) { return SetUp(context, &tls_); });
    } else {
      server_ = std::make_unique<httplib::Server>();
    }
    server_->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_->set_keep_alive_timeout(1);
    server_->set_read_timeout(2, 0);
    server_->set_write_timeout(2, 0);
    for (auto& [path, page] : pages) {
      server_->Get(path.c_str(),
                   [page = std::move(page)](const httplib::Request&, httplib::Response& response) {
                     PageReply reply = page();
                     response.status = reply.status;
                     response.set_content(reply.text, reply.content_type);
                   });
    }
  }

  ~Pages() override {
    server_->stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const std::string& option, const std::string& host, int port) {
    if (!server_->is_valid())
      return absl::InvalidArgumentError(absl::StrCat(option, ": TLS cannot be set up"));
    port_ = port == 0 ? server_->bind_to_any_port(host.c_str())
                      : (server_->bind_to_port(host.c_str(), port) ? port : -1);
    if (port_ <= 0) {
      return absl::UnavailableError(absl::StrCat(option, " ", host, ":", port, ": cannot be listened on"));
    }
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    while (!server_->is_running()) std::this_thread::yield();  // stop() before that would be lost
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  PageTls tls_;  // the handshakes look at it
  std::unique_ptr<httplib::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PageServer>> PageServer::Start(const std::string& option,
                                                              const std::string& address, const PageTls& tls,
                                                              std::map<std::string, Page> pages) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": found \"", address, "\", allowed: HOST:PORT"));
  }
  BALLAST_RETURN_IF_ERROR(CheckTls(tls));
  auto server = std::make_unique<Pages>(tls, std::move(pages));
  BALLAST_RETURN_IF_ERROR(server->Listen(option, address.substr(0, colon), port));
  return server;
}

}  // namespace ballast
