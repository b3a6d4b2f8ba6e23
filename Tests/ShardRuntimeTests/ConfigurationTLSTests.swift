import Reactor
import Testing

@testable import ShardRuntime

private func faults(_ values: [String: String]) -> [String] {
    do throws(Configuration.Faults) {
        _ = try Configuration(environment: values)
        return []
    } catch {
        return error.lines
    }
}

@Suite struct ConfigurationTLSTests {
    @Test func `Without files there is no TLS, and nothing to load`() throws {
        let configuration = try Configuration(environment: [:])
        #expect(configuration.tls == nil)
        #expect(try configuration.loadCredentials() == nil)
    }

    @Test func `Certificate and key come together, and the client CA needs both`() {
        let certificate = ["TLS_CERT_FILE": "c.pem"]
        let key = ["TLS_KEY_FILE": "k.pem"]
        let authorities = ["TLS_CLIENT_CA_FILE": "a.pem"]
        let needsKey = "TLS_KEY_FILE: required when TLS_CERT_FILE is set"
        let needsCertificate = "TLS_CERT_FILE: required when TLS_KEY_FILE is set"
        #expect(faults(certificate) == [needsKey])
        #expect(faults(key) == [needsCertificate])
        #expect(faults(certificate.merging(authorities) { $1 }) == [needsKey])
        #expect(faults(key.merging(authorities) { $1 }) == [needsCertificate])
        #expect(
            faults(authorities) == [
                "TLS_CLIENT_CA_FILE: needs TLS_CERT_FILE and TLS_KEY_FILE, which are not set"
            ])
        #expect(faults(certificate.merging(key) { $1 }) == [])
        #expect(faults(certificate.merging(["TLS_KEY_FILE": ""]) { $1 }) == [needsKey])
    }

    @Test func `A file that cannot be used is a fault of the configuration, by its variable`()
        throws
    {
        let configuration = try Configuration(environment: [
            "TLS_CERT_FILE": "/no/such/chain.pem", "TLS_KEY_FILE": "/no/such/key.pem",
        ])
        let failure = #expect(throws: StartupFailure.self) {
            _ = try configuration.loadCredentials()
        }
        #expect(failure?.exitCode == StartupFailure.configuration)
        #expect(
            failure?.message == "TLS_CERT_FILE: \"/no/such/chain.pem\" is not a certificate chain "
                + "in PEM: No such file or directory")
    }

    @Test func `Every fault names its variable and its file`() throws {
        let configuration = try Configuration(environment: [
            "TLS_CERT_FILE": "c.pem", "TLS_KEY_FILE": "k.pem", "TLS_CLIENT_CA_FILE": "a.pem",
        ])
        let cases: [(TLSFault.Kind, String, String)] = [
            (.certificate, "TLS_CERT_FILE: ", "\"c.pem\""), (.key, "TLS_KEY_FILE: ", "\"k.pem\""),
            (.pair, "TLS_KEY_FILE: ", "\"c.pem\""),
            (.clientAuthorities, "TLS_CLIENT_CA_FILE: ", "\"a.pem\""), (.library, "OpenSSL", ""),
        ]
        for (kind, start, file) in cases {
            let text = configuration.text(of: TLSFault(kind: kind, reason: "why"))
            #expect(text.hasPrefix(start) && text.hasSuffix(": why"))
            #expect(file.isEmpty || text.contains(file))
        }
    }
}
