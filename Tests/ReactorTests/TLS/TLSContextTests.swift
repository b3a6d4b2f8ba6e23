import Glibc
import Testing

@testable import Reactor

private func fault(_ files: TLSFiles) -> TLSFault? {
    do throws(TLSFault) {
        _ = try TLSContext(files)
        return nil
    } catch {
        return error
    }
}

@Suite struct TLSContextTests {
    private let folder = PEMFolder()

    @Test func `Files that belong together make a context, with the certificate's end`() throws {
        let context = try TLSContext(folder.mutualFiles)
        let left = context.expirySeconds - Int64(time(nil))
        #expect(left > 80_000 && left <= 86_400)
    }

    @Test func `A file that is not there is told with the system's reason`() {
        var files = folder.mutualFiles
        files.clientAuthorities = "/no/such/authority.pem"
        #expect(fault(files)?.kind == .clientAuthorities)
        #expect(fault(files)?.reason == "No such file or directory")
        files.key = "/no/such/key.pem"
        #expect(
            fault(files) == TLSFault(kind: .key, reason: "No such file or directory"))
        files.certificate = "/no/such/certificate.pem"
        #expect(
            fault(files) == TLSFault(kind: .certificate, reason: "No such file or directory"))
    }

    @Test(arguments: [
        "", "\n", "not PEM", "-----BEGIN CERTIFICATE-----\n", "\u{0}",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ])
    func `A file with something else in it is of no use in any place`(_ text: String) {
        let path = folder.newFile("other.pem", text)
        var files = folder.files
        files.certificate = path
        #expect(fault(files)?.kind == .certificate)
        files = folder.files
        files.key = path
        #expect(fault(files)?.kind == .key)
        files = folder.files
        files.clientAuthorities = path
        #expect(fault(files)?.kind == .clientAuthorities)
        #expect(fault(files)?.reason.isEmpty == false)
    }

    @Test func `Certificate and key of two identities are no pair`() {
        let path = folder.newFile("another.key")
        TLSIdentity("another").writeKey(path)
        var files = folder.files
        files.key = path
        #expect(fault(files)?.kind == .pair)
    }

    @Test func `A key with a passphrase is refused, and nobody is asked for it`() {
        let path = folder.newFile("locked.key")
        folder.server.writeKey(path, passphrase: "secret")
        var files = folder.files
        files.key = path
        #expect(fault(files)?.kind == .key)
    }

    @Test func `Files swapped are told as what they are not`() {
        let files = TLSFiles(certificate: folder.files.key, key: folder.files.certificate)
        #expect(fault(files)?.kind == .certificate)
    }

    @Test func `A reload that fails leaves what was, one that works is seen by every engine`()
        throws
    {
        let certificate = folder.newFile("reloaded.pem")
        let key = folder.newFile("reloaded.key")
        folder.server.writeCertificate(certificate)
        folder.server.writeKey(key)
        let credentials = try TLSCredentials(TLSFiles(certificate: certificate, key: key))
        let before = credentials.context
        _ = folder.newFile("reloaded.pem", "broken")
        #expect(throws: TLSFault.self) { try credentials.reload() }
        #expect(credentials.context === before)
        folder.server.writeCertificate(certificate)
        try credentials.reload()
        #expect(credentials.context !== before)
    }
}
