// The file of public keys that tokens may be signed with.

import Glibc
import Identity

extension Configuration {
    /// Reads the keys of JWT_PUBLIC_KEY_FILE; none when it is not set.
    public func loadPublicKeys() throws(StartupFailure) -> PublicKeys {
        guard let path = jwtPublicKeyFile else { return .none }
        func failure(_ reason: String) -> StartupFailure {
            StartupFailure(
                StartupFailure.configuration,
                """
                JWT_PUBLIC_KEY_FILE: "\(path)" is of no use: \(reason); use a PEM file of public \
                keys or certificates (RSA of 2048 bits or more, P-256, Ed25519)
                """)
        }
        guard let text = Self.contents(of: path) else {
            throw unsafe failure(String(cString: strerror(errno)))
        }
        do throws(PublicKeyFault) {
            return try PublicKeys(pem: text)
        } catch {
            throw failure(error.detail)
        }
    }

    /// nil, with errno set, when the file cannot be read; at most 1 MiB of it.
    private static func contents(of path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while text.count < 1 << 20 {
            // Safety: reads at most as many bytes as the array has.
            let count = unsafe part.withUnsafeMutableBytes {
                unsafe read(descriptor, $0.baseAddress, $0.count)
            }
            guard count >= 0 else { return nil }
            if count == 0 { break }
            text += part.prefix(count)
        }
        return text
    }
}
