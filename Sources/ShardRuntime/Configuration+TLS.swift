// The variables of TLS: certificate and key come together, and the client CA needs them.

import Reactor

extension Configuration {
    mutating func readTLS(_ reader: inout EnvironmentReader) {
        let certificate = reader.value("TLS_CERT_FILE")
        let key = reader.value("TLS_KEY_FILE")
        let authorities = reader.value("TLS_CLIENT_CA_FILE")
        switch (certificate, key) {
        case (let certificate?, let key?):
            tls = TLSFiles(certificate: certificate, key: key, clientAuthorities: authorities)
        case (_?, nil):
            reader.faults.append("TLS_KEY_FILE: required when TLS_CERT_FILE is set")
        case (nil, _?):
            reader.faults.append("TLS_CERT_FILE: required when TLS_KEY_FILE is set")
        case (nil, nil):
            guard authorities != nil else { return }
            reader.faults.append(
                "TLS_CLIENT_CA_FILE: needs TLS_CERT_FILE and TLS_KEY_FILE, which are not set")
        }
    }

    /// Reads the files that the configuration names; nil when it names none.
    public func loadCredentials() throws(StartupFailure) -> TLSCredentials? {
        guard let tls else { return nil }
        do throws(TLSFault) {
            return try TLSCredentials(tls)
        } catch {
            throw StartupFailure(StartupFailure.configuration, text(of: error))
        }
    }

    /// A fault of the files, by the variable that names them.
    func text(of fault: TLSFault) -> String {
        let key = "\"\(tls?.key ?? "")\""
        let certificate = "\"\(tls?.certificate ?? "")\""
        return switch fault.kind {
        case .certificate:
            "TLS_CERT_FILE: \(certificate) is not a certificate chain in PEM: \(fault.reason)"
        case .key:
            "TLS_KEY_FILE: \(key) is not a private key in PEM without a passphrase: "
                + fault.reason
        case .pair:
            "TLS_KEY_FILE: \(key) is not the key of the certificate in \(certificate): "
                + fault.reason
        case .clientAuthorities:
            "TLS_CLIENT_CA_FILE: \"\(tls?.clientAuthorities ?? "")\" holds no certificates in PEM: "
                + fault.reason
        case .library: "OpenSSL cannot be set up: \(fault.reason)"
        }
    }
}
