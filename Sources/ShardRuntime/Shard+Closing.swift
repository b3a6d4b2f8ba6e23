// Looks for conversations in which nothing is said any more, for tenants that have them closed.
// Core 0 asks the store, a bounded page at a time, and hands what is found to its owners, who
// decide.

import Bytes
import ChatModel
import Conversations
import Reactor
import Stores

/// Where the look for inactive conversations is; one look goes through all tenants.
struct InactivitySweep {
    /// Of the tenant that is looked at; nil: the look is over.
    var tenant: Int?
    /// The last conversation of it that was looked at.
    var after = Identifier.none
    /// A page has been asked for.
    var isReading = false
    /// When the next look begins.
    var notBeforeNanoseconds: UInt64 = 0
}

extension Shard {
    static let sweepPauseMillisecondsMax: UInt64 = 60_000

    /// Once a second.
    func goOnSweeping() {
        guard !sweep.isReading, !service.isClosing, !isCongested else { return }
        if sweep.tenant == nil {
            guard clock.nanoseconds >= sweep.notBeforeNanoseconds else { return }
            sweep.tenant = 0
            sweep.after = .none
        }
        readInactive()
    }

    /// Asks for the next page, of the first tenant from here on that wants it.
    private func readInactive() {
        let tenants = directory.tenants
        while let place = sweep.tenant, place < tenants.count {
            let tenant = tenants[place]
            let limit = tenant.autoCloseSeconds * 1000
            guard limit > 0, limit < clock.milliseconds else {
                sweep.tenant = place + 1
                sweep.after = .none
                continue
            }
            sweep.isReading = true
            return store.read(
                .inactive(
                    InactiveQuery(
                        tenantName: tenant.name, cutoffMilliseconds: clock.milliseconds - limit,
                        after: sweep.after)))
        }
        sweep.tenant = nil
        sweep.notBeforeNanoseconds = clock.nanoseconds + pauseMilliseconds * 1_000_000
    }

    /// A quarter of the shortest time after which something is closed.
    private var pauseMilliseconds: UInt64 {
        let shortest = directory.tenants.map(\.autoCloseSeconds).filter { $0 > 0 }.min()
        return min((shortest ?? .max / 1000) * 250, Self.sweepPauseMillisecondsMax)
    }

    func didFindInactive(_ page: InactivePage) {
        sweep.isReading = false
        guard let place = sweep.tenant else { return }
        guard page.isReadable else {
            // The store cannot be read now.
            sweep.tenant = nil
            sweep.notBeforeNanoseconds = clock.nanoseconds + 1_000_000_000
            return
        }
        for id in page.found { ask(.closeInactive(id), shardKey: id.shardKey) }
        if let last = page.last {
            sweep.after = last
        } else {
            sweep.tenant = place + 1
            sweep.after = .none
        }
        // What was found is work for the owners and the store: the rest waits for the next second.
        if page.found.isEmpty { goOnSweeping() }
    }

    func publishClosings() {
        let reasons = ClosingReason.allCases.count
        var totals = [UInt64](repeating: 0, count: (ShardMetrics.tenantsMax + 1) * reasons)
        for (place, count) in owner.closings.enumerated() {
            let tenant = min(place / reasons, ShardMetrics.tenantsMax)
            totals[tenant * reasons + place % reasons] += UInt64(count)
        }
        for (place, total) in totals.enumerated() { metrics.closings.store(total, at: place) }
    }
}
