// Runs seeds of the simulation:
//
//     simulate --seeds 1..300        a range
//     simulate --seed 7 [--trace]    one seed, every event on standard error
//     simulate --minutes 10          seeds after seeds, from the clock
//
// Exit 0 when no rule was broken, 1 otherwise, 64 for wrong arguments.

import Glibc
import Simulation

@main
enum Simulate {
    static func main() {
        fixHashing()
        guard let options = Options(CommandLine.arguments.dropFirst()) else {
            say("usage: simulate [--seeds A..B | --seed N | --minutes M] [--trace]")
            exit(64)
        }
        let start = seconds()
        var (count, failed, virtual, events) = (0, 0, 0.0, 0)
        var hash: UInt64 = 0
        var met: [String: Int] = [:]
        var seed = options.first
        while seed <= options.last, options.minutes.map({ seconds() - start < $0 * 60 }) ?? true {
            let trace: ((String) -> Void)? = options.isTracing ? { tell($0, to: 2) } : nil
            let result = Simulation.run(seed: seed, trace: trace)
            count += 1
            virtual += Double(result.virtualNanoseconds) / 1e9
            events += result.eventCount
            hash = hash &* 31 &+ result.traceHash
            met.merge(result.counts) { $0 + $1 }
            if !result.violations.isEmpty {
                failed += 1
                say("seed \(seed): \(result.violations.prefix(3).joined(separator: "; "))")
                say("  replay: scripts/simulate.sh --seed \(seed) --trace")
            }
            seed += 1
        }
        let real = max(seconds() - start, 1e-9)
        if options.tells {
            for (name, count) in met.sorted(by: { $0 < $1 }) { say("  \(name): \(count)") }
        }
        say(
            "\(count) seeds, \(failed) failed, \(events) events, \(Int(virtual)) simulated seconds "
                + "in \(tenths(real)) s (\(Int(virtual / real)) times real time, "
                + "\(tenths(Double(count) / real)) seeds a second), trace hash "
                + String(hash, radix: 16))
        exit(failed == 0 ? 0 : 1)
    }

    /// The order of a dictionary must not change from process to process; the runtime reads this
    /// before `main`, so the process starts itself again with it.
    private static func fixHashing() {
        guard unsafe getenv("SWIFT_DETERMINISTIC_HASHING") == nil else { return }
        unsafe setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
        // Safety: the arguments are the process's own, and execv replaces it or fails.
        unsafe execv("/proc/self/exe", CommandLine.unsafeArgv)
        say("simulate: cannot start itself again; seeds may not be repeatable")
    }

    private static func say(_ text: String) {
        tell(text, to: 1)
    }

    private static func tell(_ text: String, to descriptor: Int32) {
        let line = Array((text + "\n").utf8)
        // Safety: the array has count bytes.
        _ = unsafe line.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    }

    private static func seconds() -> Double {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int(value * 10)
        return "\(tenths / 10).\(tenths % 10)"
    }
}

private struct Options {
    var first: UInt64 = 1
    var last: UInt64 = 300
    var minutes: Double?
    var isTracing = false
    /// Says what was met, too.
    var tells = false

    init?(_ arguments: ArraySlice<String>) {
        var rest = arguments
        while let name = rest.popFirst() {
            switch name {
            case "--trace": isTracing = true
            case "--counts": tells = true
            case "--seed":
                guard let seed = rest.popFirst().flatMap({ UInt64($0) }) else { return nil }
                (first, last) = (seed, seed)
            case "--seeds":
                let ends = rest.popFirst()?.split(separator: ".") ?? []
                guard ends.count == 2, let low = UInt64(ends[0]), let high = UInt64(ends[1]),
                    low <= high
                else { return nil }
                (first, last) = (low, high)
            case "--minutes":
                guard let count = rest.popFirst().flatMap({ Double($0) }), count > 0 else {
                    return nil
                }
                minutes = count
                (first, last) = (UInt64(time(nil)) << 16, .max - 1)
            default: return nil
            }
        }
    }
}
