#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <memory>

#include "server/http/http_server.h"
#include "server/http/test_certificate_for_test.h"
#include "server/http/test_client_for_test.h"

namespace tandem {
namespace {

template <auto Free>
struct Freeing {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, Freeing<Free>>;

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.port = 0;
    options_.certificate_file = certificate_.certificate_file();
    options_.key_file = certificate_.key_file();
  }

  void start() {
    auto server = HttpServer::start(options_, [](const std::shared_ptr<HttpExchange>& exchange) {
      exchange->respond({200, "text/plain", "hello " + exchange->request().path, {}});
    });
    ASSERT_TRUE(server.ok()) << server.error().to_string();
    server_ = std::move(*server);
  }

  // The answer to one request of a client that speaks no more than `version`. Empty: no handshake.
  std::string ask(int version) const {
    const Owned<SSL_CTX, SSL_CTX_free> context(SSL_CTX_new(TLS_client_method()));
    // Old versions are not only unwanted but off by default at the usual level.
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_max_proto_version(context.get(), version);
    const Owned<BIO, BIO_free_all> connection(BIO_new_ssl_connect(context.get()));
    BIO_set_conn_hostname(connection.get(), fmt::format("127.0.0.1:{}", server_->port()).c_str());
    if (BIO_do_handshake(connection.get()) != 1) return {};
    BIO_puts(connection.get(), "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    std::string answer;
    char piece[4096];
    for (int size = 1; size > 0;) {
      size = BIO_read(connection.get(), piece, sizeof piece);
      if (size > 0) answer.append(piece, static_cast<std::size_t>(size));
    }
    return answer;
  }

  const TestCertificate certificate_{"localhost"};
  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(TlsTest, SpeaksTheVersionsThatAreSafeAndNothingElse) {
  start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_EQ(parse_response(ask(version)).body, "hello /x");
  }
  EXPECT_EQ(ask(TLS1_1_VERSION), "");
  TestClient plain(server_->port());
  plain.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(plain.read_all().find("hello"), std::string::npos);
  EXPECT_TRUE(plain.is_closed());
}

TEST_F(TlsTest, SaysWhatIsWrongWithItsFiles) {
  const auto error = [this](const std::string& certificate, const std::string& key) {
    HttpServerOptions options = options_;
    options.certificate_file = certificate;
    options.key_file = key;
    const auto server = HttpServer::start(options, [](auto) {});
    return server.ok() ? std::string("none") : server.error().to_string();
  };
  const std::string& certificate = options_.certificate_file;
  const std::string& key = options_.key_file;
  EXPECT_EQ(error("/no/file", key), "/no/file: cannot be read (got No such file or directory)");
  EXPECT_EQ(error(certificate, "/no/file"),
            "/no/file: cannot be read (got No such file or directory)");
  EXPECT_EQ(error(certificate, ""),
            "TLS (expected both a certificate and a key file, got one of them)");
  EXPECT_TRUE(error(key, key).starts_with(key + ": no certificate chain"));
  EXPECT_TRUE(error(certificate, certificate).starts_with(certificate + ": no private key"));
}

}  // namespace
}  // namespace tandem
