// Where random bytes come from: the kernel in the service, a seed in a simulation.

public struct Entropy: Sendable {
    public let bytes: @Sendable (Int) -> [UInt8]

    public init(bytes: @escaping @Sendable (Int) -> [UInt8]) { self.bytes = bytes }

    public static let kernel = Entropy { Digests.random($0) }

    public func seed() -> UInt64 { bytes(8).reduce(0) { $0 << 8 | UInt64($1) } }
}
