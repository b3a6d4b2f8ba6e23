// Seeds of the simulation, and the simulation itself: that a seed replays, and that a bug is found.
//
// Most seeds run in the `simulate` command, which sees to it that a dictionary's order is the same
// in every process; `scripts/test.sh` runs more of them in a release build.

import Foundation
import Testing

@testable import Simulation

/// What the command says, which stands beside this process's own executable.
private func simulate(_ arguments: String...) throws -> (lines: [String], status: Int32) {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? own
    let process = Process()
    process.executableURL = URL(filePath: bundle).deletingLastPathComponent()
        .appending(path: "simulate")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (text.split(separator: "\n").map(String.init), process.terminationStatus)
}

@Suite struct SimulationTests {
    @Test func `Whatever network, store, clients and cores do, no rule is broken`() throws {
        let (lines, status) = try simulate("--seeds", "1..24")
        #expect(status == 0, "\(lines.joined(separator: "\n"))")
        #expect(lines.last?.hasPrefix("24 seeds, 0 failed") == true)
    }

    @Test func `A seed does the same in every process`() throws {
        let runs = try (0..<2).map { _ in try simulate("--seeds", "3..6").lines.last ?? "" }
        let hashes = runs.map { $0.split(separator: " ").last ?? "" }
        #expect(hashes[0] == hashes[1])
        #expect(hashes[0].count > 8)
        let other = try simulate("--seeds", "4..7").lines.last?.split(separator: " ").last
        #expect(other != hashes[0])
    }

    @Test func `What the command does not understand, it says`() throws {
        for arguments in ["--seeds", "--sed", "5"] {
            let (lines, status) = try simulate(arguments)
            #expect(status == 64)
            #expect(lines.first?.hasPrefix("usage:") == true)
        }
    }

    @Test(arguments: Plant.allCases) func `A planted bug is found`(_ plant: Plant) {
        let found = (UInt64(1)...12).contains { seed in
            !Simulation.run(seed: seed, plant: plant).violations.isEmpty
        }
        #expect(found, "no seed finds \(plant)")
    }

    @Test func `The seeds meet every kind of fault and answer`() {
        var counts: [String: Int] = [:]
        for seed in UInt64(101)...112 {
            counts.merge(Simulation.run(seed: seed).counts) { $0 + $1 }
        }
        for name in [
            "101", "200", "202", "404", "409", "503", "vanish", "stall", "crash", "malformed",
            "412", "deed", "deed done", "note", "agent's reply", "201", "original", "replay",
            "history", "shown", "subscribed", "marked", "receipt", "204",
            "presence online", "presence offline", "closed as inactive",
            "run", "cancel",
            "run ended: completed", "run ended: failed", "close 1001",
        ] {
            #expect(counts[name, default: 0] > 0, "\(name) was never met")
        }
    }
}
