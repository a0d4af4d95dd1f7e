#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace support {

/// A certificate and its key, as PEM texts.
struct Certificate {
    std::string certificate;
    std::string key;
};

/// Issues certificates, each valid from yesterday on.
///
///     const support::Authority authority;
///     const auto server = authority.issue("localhost");
class Authority {
public:
    explicit Authority(const std::string& name = "authority")
        : key_{make_key()}, certificate_{sign(name, "CA:TRUE", *key_, valid)} {}

    /// What those who trust this authority know of it.
    std::string pem() const { return written(&PEM_write_bio_X509, certificate_.get()); }

    /// For the host or the user of this name.
    Certificate issue(const std::string& name) const { return issue(name, valid); }
    /// The same, over since an hour ago.
    Certificate issue_expired(const std::string& name) const { return issue(name, -3600); }

private:
    static constexpr long day = 24 * 3600;
    static constexpr long valid = day;

    struct Free {
        void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
        void operator()(X509* certificate) const { X509_free(certificate); }
        void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
        void operator()(BIO* bio) const { BIO_free(bio); }
    };
    template <typename T>
    using Owned = std::unique_ptr<T, Free>;

    template <typename T>
    static Owned<T> own(T* made) {
        if (made == nullptr) throw std::runtime_error{"OpenSSL makes no certificate"};
        return Owned<T>{made};
    }
    static Owned<EVP_PKEY> make_key() { return own(EVP_EC_gen("P-256")); }

    template <typename Write, typename T>
    static std::string written(Write write, T* object) {
        const auto bio = own(BIO_new(BIO_s_mem()));
        write(bio.get(), object);
        char* text = nullptr;
        const auto size = BIO_get_mem_data(bio.get(), &text);
        return {text, static_cast<std::size_t>(size)};
    }

    Certificate issue(const std::string& name, long valid_for) const {
        const auto key = make_key();
        const auto certificate = sign(name, "CA:FALSE", *key, valid_for);
        const auto write_key = [](BIO* bio, EVP_PKEY* written_key) {
            return PEM_write_bio_PrivateKey(bio, written_key, nullptr, nullptr, 0, nullptr,
                                            nullptr);
        };
        return {written(&PEM_write_bio_X509, certificate.get()), written(write_key, key.get())};
    }

    Owned<X509> sign(const std::string& name, const char* constraints, EVP_PKEY& key,
                     long valid_for) const {
        auto certificate = own(X509_new());
        X509* const x509 = certificate.get();
        static long serial = 0;
        X509_set_version(x509, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(x509), ++serial);
        X509_gmtime_adj(X509_getm_notBefore(x509), -day);
        X509_gmtime_adj(X509_getm_notAfter(x509), valid_for);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
        X509_set_issuer_name(x509, X509_get_subject_name(certificate_ ? certificate_.get() : x509));
        X509_set_pubkey(x509, &key);
        const auto extension =
            own(X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, constraints));
        X509_add_ext(x509, extension.get(), -1);
        if (X509_sign(x509, key_.get(), EVP_sha256()) == 0)
            throw std::runtime_error{"OpenSSL signs no certificate"};
        return certificate;
    }

    const Owned<EVP_PKEY> key_;
    const Owned<X509> certificate_;
};

}  // namespace support
