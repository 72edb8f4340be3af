#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "base/check.h"

namespace tandem {

// A certificate for one host name, signed by itself and good for an hour, and its key: PEM files in
// a folder of their own, which goes with it.
class TestCertificate {
 public:
  explicit TestCertificate(const std::string& host) {
    std::string folder = (std::filesystem::temp_directory_path() / "tandem-tls-XXXXXX").string();
    TANDEM_CHECK(::mkdtemp(folder.data()) != nullptr, folder);
    folder_ = folder;
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, void (*)(X509*)> certificate(X509_new(), X509_free);
    fill(*certificate, *key, host);
    TANDEM_CHECK(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "signing");
    const auto write = [](const std::string& path, auto to_file) {
      std::FILE* file = std::fopen(path.c_str(), "w");
      TANDEM_CHECK(file != nullptr && to_file(file) == 1 && std::fclose(file) == 0, path);
    };
    write(certificate_file(), [&](std::FILE* f) { return PEM_write_X509(f, certificate.get()); });
    write(key_file(), [&](std::FILE* f) {
      return PEM_write_PrivateKey(f, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
  ~TestCertificate() { std::filesystem::remove_all(folder_); }
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  std::string certificate_file() const { return folder_ + "/certificate.pem"; }
  std::string key_file() const { return folder_ + "/key.pem"; }

 private:
  static void fill(X509& certificate, EVP_PKEY& key, const std::string& host) {
    X509_set_version(&certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(&certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(&certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(&certificate), 3600);
    X509_set_pubkey(&certificate, &key);
    X509_NAME* name = X509_get_subject_name(&certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(host.c_str()), -1, -1, 0);
    X509_set_issuer_name(&certificate, name);
    const std::string alternative = "DNS:" + host;
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative.c_str());
    TANDEM_CHECK(extension != nullptr && X509_add_ext(&certificate, extension, -1) == 1, host);
    X509_EXTENSION_free(extension);
  }

  std::string folder_;
};

}  // namespace tandem
