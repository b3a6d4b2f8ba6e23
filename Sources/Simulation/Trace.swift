// What happened, as a running hash and, when asked for, as lines.

import Bytes

/// Owner: the simulation's one thread. Two runs of one seed have the same hash, or the simulation
/// is not deterministic and no seed can be trusted.
final class Trace {
    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private let agenda: Agenda
    private let write: ((String) -> Void)?

    init(agenda: Agenda, write: ((String) -> Void)?) {
        self.agenda = agenda
        self.write = write
    }

    func mix(_ value: UInt64) {
        hash = (hash ^ value) &* 0x0000_0100_0000_01B3
        hash ^= hash >> 29
    }

    func note(_ text: @autoclosure () -> String) {
        mix(agenda.now)
        guard let write else { return }
        let time = agenda.now - 1_000 * .second
        let micros = String(time / 1000)
        write("\(String(repeating: " ", count: max(0, 11 - micros.count)))\(micros) \(text())")
    }

    /// Bytes on a connection: their content counts, not only that they came.
    func note(_ bytes: [UInt8], _ text: @autoclosure () -> String) {
        // Safety: the array's bytes are only read.
        mix(unsafe bytes.span.bytes.hash(seed: UInt64(bytes.count)))
        note(text())
    }
}
