import Bytes
import Testing

@testable import Reactor
@testable import ShardRuntime

/// IPv4 mapped into IPv6.
private func address(_ a: UInt8, _ b: UInt8 = 0) -> PeerAddress {
    address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 10, 0, a, b])
}

private func address(_ bytes: [UInt8]) -> PeerAddress {
    let block = ByteBlock(bytes)
    return PeerAddress(block.bytes)
}

private func ledger(_ all: Int, _ perAddress: Int) -> ConnectionLedger {
    ConnectionLedger(connectionsMax: all, connectionsPerAddressMax: perAddress, seed: 7)
}

extension ConnectionLedger.Admission {
    fileprivate var place: ConnectionLedger.Place? {
        if case .admitted(let place) = self { place } else { nil }
    }
}

@Suite struct ConnectionLedgerTests {
    @Test func `The process has so many places, whoever asks`() {
        let ledger = ledger(3, 3)
        let places = (0..<3).compactMap { ledger.admit(address($0)).place }
        #expect(places.count == 3 && ledger.count == 3)
        #expect(ledger.admit(address(9)) == .isFull)
        #expect(ledger.admit(nil) == .isFull)
        #expect(ledger.count == 3, "who was refused took nothing")
        ledger.release(places[0])
        #expect(ledger.admit(address(9)).place != nil)
    }

    @Test func `An address has so many places, and others have theirs`() {
        let ledger = ledger(100, 2)
        let first = ledger.admit(address(1)).place
        #expect(first != nil && ledger.admit(address(1)).place != nil)
        #expect(ledger.admit(address(1)) == .addressIsFull)
        #expect(ledger.count == 2, "who was refused took nothing")
        #expect(ledger.admit(address(2)).place != nil)
        if let first { ledger.release(first) }
        #expect(ledger.admit(address(1)).place != nil)
        #expect(ledger.admit(address(1)) == .addressIsFull)
    }

    @Test func `A network of IPv6 is one address, and one of IPv4 is not`() {
        let ledger = ledger(100, 1)
        let network: [UInt8] = [0x20, 1, 0xD, 0xB8, 0, 0, 0, 5]
        #expect(ledger.admit(address(network + [0, 0, 0, 0, 0, 0, 0, 1])).place != nil)
        #expect(ledger.admit(address(network + [9, 9, 9, 9, 9, 9, 9, 9])) == .addressIsFull)
        #expect(ledger.admit(address(1, 1)).place != nil)
        #expect(ledger.admit(address(1, 2)).place != nil)
    }

    @Test func `Who cannot be told has a place of the process alone`() {
        let ledger = ledger(10, 1)
        for _ in 0..<10 { #expect(ledger.admit(nil) == .admitted(.uncounted)) }
        for _ in 0..<10 { ledger.release(.uncounted) }
        #expect(ledger.count == 0)
    }

    @Test func `From three quarters on there is pressure`() {
        let ledger = ledger(8, 8)
        var places: [ConnectionLedger.Place] = []
        for number in 0..<8 {
            #expect(ledger.isUnderPressure == (number > 6))
            if let place = ledger.admit(nil).place { places.append(place) }
        }
        #expect(ledger.isUnderPressure)
    }

    @Test func `Nothing is lost when thousands of addresses come and go`() {
        let ledger = ledger(1_000_000, 3)
        for round in 0..<3 {
            var places: [ConnectionLedger.Place] = []
            for a in UInt8.min...255 {
                for b in UInt8(0)..<200 {
                    if let place = ledger.admit(address(a, b)).place { places.append(place) }
                }
            }
            #expect(places.count == 256 * 200, "round \(round)")
            for place in places { ledger.release(place) }
            #expect(ledger.count == 0)
        }
        for _ in 0..<3 { #expect(ledger.admit(address(3, 3)).place != nil) }
        #expect(ledger.admit(address(3, 3)) == .addressIsFull)
    }
}
