// `/metrics`: Prometheus text format 0.0.4, or OpenMetrics 1.0 when asked for.

import Bytes
import CLinux
import ChatModel
import Conversations
import Ingest
import Observability
import Rings
import Search
import Stores
import Synchronization
import Wire

struct MetricsExposition {
    let service: ServiceState
    let directory: TenantDirectory
    let uptimeSeconds: UInt64

    private var shards: [ShardMetrics] { service.shardMetrics }

    func write(into out: ByteWriter, isOpenMetrics: Bool) {
        let text = MetricText(out: out, isOpenMetrics: isOpenMetrics)
        writeRequests(text)
        writeMessages(text)
        writeCaches(text)
        writeEmptyFamilies(text)
        writeSockets(text)
        writeTLS(text)
        writeLoops(text)
        writeStore(text)
        writeSearch(text)
        writeProcess(text)
        if isOpenMetrics { out.append("# EOF\n") }
    }

    private func total(_ field: (ShardMetrics) -> Counter) -> UInt64 {
        shards.reduce(0) { $0 &+ field($1).current }
    }

    private func writeRequests(_ text: MetricText) {
        var sums: [UInt32: UInt64] = [:]
        for shard in shards {
            shard.requests.forEach { route, method, status, count in
                sums[UInt32(route) << 24 | UInt32(method) << 16 | UInt32(status), default: 0] +=
                    count
            }
        }
        text.family("chat_http_requests", .counter, "HTTP requests by method, route and status.")
        for (key, count) in sums.sorted(by: { $0.key < $1.key }) {
            let route = Route(rawValue: UInt8(key >> 24)) ?? .unknown
            let method = HTTPMethod(rawValue: UInt8(truncatingIfNeeded: key >> 16)) ?? .get
            text.sample(
                "chat_http_requests_total",
                [
                    ("method", "\(method.name)"), ("route", "\(route.pattern)"),
                    ("status", "\(key & 0xFFFF)"),
                ], count)
        }
        text.histogram(
            "chat_http_request_duration_seconds", "Time from a request's arrival to its answer.",
            [([], shards.map(\.requestMicroseconds))])
    }

    private func tenantName(_ place: Int) -> String {
        place < ShardMetrics.tenantsMax && place < directory.tenants.count
            ? directory.tenants[place].nameText : "other"
    }

    private func sum(_ words: (ShardMetrics) -> AtomicWords, _ index: Int) -> UInt64 {
        shards.reduce(0) { $0 &+ words($1).load(index) }
    }

    private func writeMessages(_ text: MetricText) {
        let places =
            Array(0..<min(directory.tenants.count, ShardMetrics.tenantsMax))
            + (directory.tenants.count > ShardMetrics.tenantsMax
                ? [ShardMetrics.tenantsMax] : [])
        text.family("chat_messages", .counter, "Messages that became durable.")
        for place in places {
            for channel in Channel.allCases {
                for direction in 0..<2 {
                    let count = sum(\.messages, place * 16 + Int(channel.rawValue) * 2 + direction)
                    guard count > 0 || channel == .web else { continue }
                    text.sample(
                        "chat_messages_total",
                        [
                            ("tenant", tenantName(place)), ("channel", "\(channel.name)"),
                            ("direction", direction == 0 ? "inbound" : "outbound"),
                        ], count)
                }
            }
        }
        text.histogram(
            "chat_message_processing_time_seconds", "Time that messages spend, by stage.",
            [
                ([("stage", "commit")], shards.map(\.commitMicroseconds)),
                ([("stage", "total")], shards.map(\.messageMicroseconds)),
            ])
        text.histogram(
            "chat_engine_first_token_seconds",
            "Time from a message's arrival to the first words of its reply.",
            [([], shards.map(\.firstTokenMicroseconds))])
        writeConversations(text, places)
        text.family("chat_rate_limited", .counter, "Requests refused by a limit.")
        for place in places {
            for scope in [ShardMetrics.Scope.tenant, .user] {
                text.sample(
                    "chat_rate_limited_total",
                    [("tenant", tenantName(place)), ("scope", scope.name)],
                    sum(\.rateLimited, place * 4 + scope.rawValue))
            }
        }
        text.sample(
            "chat_rate_limited_total", [("tenant", "none"), ("scope", "address")],
            sum(\.rateLimited, ShardMetrics.tenantsMax * 4 + ShardMetrics.Scope.address.rawValue))
        writeDecisions(text)
        writePeople(text)
    }

    private func writeConversations(_ text: MetricText, _ places: [Int]) {
        text.family("chat_conversations_active", .gauge, "Conversations held in memory.")
        for place in places {
            text.sample(
                "chat_conversations_active", [("tenant", tenantName(place))],
                sum(\.conversations, place))
        }
        text.family("chat_conversations_closed", .counter, "Conversations that were closed.")
        for place in places {
            for reason in ClosingReason.allCases {
                text.sample(
                    "chat_conversations_closed_total",
                    [("tenant", tenantName(place)), ("reason", "\(reason)")],
                    sum(\.closings, place * ClosingReason.allCases.count + reason.rawValue))
            }
        }
    }

    private func writeDecisions(_ text: MetricText) {
        text.single(
            "chat_dedupe_hits", .counter, "Messages that were stored already.", total(\.duplicates))
        text.single(
            "chat_seq_conflicts", .counter, "Commits that another writer was before.",
            total(\.conflicts))
        text.single(
            "chat_fenced_replies", .counter, "Replies refused since the handler changed.",
            total(\.fencedReplies))
        text.single(
            "chat_stale_changes", .counter,
            "Edits refused since their message may have been deleted meanwhile.",
            total(\.staleChanges))
        text.single("chat_runs_started", .counter, "Engine runs that were streamed.", total(\.runs))
    }

    private func writePeople(_ text: MetricText) {
        text.single(
            "chat_runs_expired", .counter, "Runs that did not end in time.", total(\.runsExpired))
        text.single(
            "chat_cursor_writes", .counter, "Writes of read cursors.", total(\.cursorWrites))
        text.single(
            "chat_presence_without_grace", .counter,
            "Users who were offline at once, since too many left.", total(\.leftWithoutGrace))
        text.single(
            "chat_presence_not_told", .counter,
            "Followed conversations in which a change of presence was not told.",
            total(\.presenceNotTold))
    }

    private func writeCaches(_ text: MetricText) {
        text.family("chat_cache_requests", .counter, "Looks into caches.")
        let caches: [(String, KeyPath<ShardMetrics, Counter>, KeyPath<ShardMetrics, Counter>)] = [
            ("conversations", \.conversationHits, \.conversationMisses),
            ("tokens", \.tokenHits, \.tokenMisses),
        ]
        for (name, hits, misses) in caches {
            for (outcome, path) in [("hit", hits), ("miss", misses)] {
                text.sample(
                    "chat_cache_requests_total",
                    [("cache", name), ("layer", "memory"), ("outcome", outcome)],
                    total { $0[keyPath: path] })
            }
        }
    }

    /// Families whose series come with what they count: a breaker, a channel's
    /// adapter.
    private func writeEmptyFamilies(_ text: MetricText) {
        text.family("chat_circuit_state", .gauge, "0 closed, 1 half open, 2 open.")
        text.family("chat_channel_deliveries", .counter, "Messages handed to a channel's provider.")
    }

    private func writeSockets(_ text: MetricText) {
        text.single("chat_ws_connections", .gauge, "Open WebSockets.", total(\.sockets))
        text.single("chat_sse_connections", .gauge, "Open event streams.", total(\.streams))
        text.single(
            "chat_long_polls", .gauge, "Requests that wait for an entry.", total(\.polls))
        text.single(
            "chat_long_polls_refused", .counter, "Requests that found no place to wait.",
            total(\.pollsRefused))
        text.single(
            "chat_ws_frames_sent", .counter, "Frames queued to sockets.", total(\.framesOut))
        text.single(
            "chat_slow_consumers", .counter, "Sockets and streams that did not read.",
            total(\.slowConsumers))
        text.single(
            "chat_connections", .gauge, "Open connections of any kind.", total(\.connections))
        text.single(
            "chat_connections_accepted", .counter, "Connections accepted.",
            total(\.connectionsAccepted))
        text.single(
            "chat_accept_failures", .counter, "Accepts that failed, for want of descriptors.",
            total(\.acceptFailures))
        text.single(
            "chat_connection_timeouts", .counter, "Connections ended by a time limit.",
            total(\.timeouts))
        text.single(
            "chat_reads_held", .counter, "Times that reading was paused for want of room.",
            total(\.held))
        text.single(
            "chat_stale_completions", .counter, "Completions for what had ended.",
            total(\.staleCompletions))
        text.single(
            "chat_connections_max", .gauge, "Connections that the process takes at most.",
            UInt64(service.ledger.connectionsMax))
        text.family(
            "chat_shed", .counter, "What was refused or ended to protect everybody else.")
        for reason in ShedReason.allCases {
            text.sample(
                "chat_shed_total", [("reason", reason.name)], sum(\.shed, reason.rawValue))
        }
        text.family(
            "chat_buffered_bytes", .gauge, "Memory for what is not whole yet, or not read yet.")
        text.sample(
            "chat_buffered_bytes", [("direction", "in")], total(\.heldBytes))
        text.sample(
            "chat_buffered_bytes", [("direction", "out")], total(\.outboxBytes))
        text.single("chat_send_chunks", .gauge, "4 KiB buffers made for sending.", total(\.chunks))
    }

    private func writeTLS(_ text: MetricText) {
        text.family("chat_tls_handshakes", .counter, "TLS handshakes by how they ended.")
        text.sample("chat_tls_handshakes_total", [("result", "ok")], total(\.handshakes))
        text.sample("chat_tls_handshakes_total", [("result", "failed")], total(\.handshakesFailed))
        text.single(
            "chat_tls_resumptions", .counter, "Handshakes that resumed an earlier session.",
            total(\.handshakesResumed))
        text.single(
            "chat_tls_failures", .counter, "TLS connections that broke after their handshake.",
            total(\.tlsFailures))
    }

    private func writeLoops(_ text: MetricText) {
        text.family("chat_ring_depth", .gauge, "Elements in the rings between threads.")
        for (from, shard) in shards.enumerated() {
            for to in 0..<shards.count where to != from {
                text.sample(
                    "chat_ring_depth", [("from", "\(from)"), ("to", "\(to)")],
                    shard.ringDepth.load(to))
            }
            text.sample(
                "chat_ring_depth", [("from", "\(from)"), ("to", "store")], shard.ringDepth.load(64))
        }
        text.family("chat_queue_depth", .gauge, "Work that waits.")
        text.sample(
            "chat_queue_depth", [("queue", "commit")],
            shards.reduce(0) { $0 &+ $1.ringDepth.load(64) })
        text.histogram(
            "chat_event_loop_lag_seconds", "How late a loop's timers fire.",
            shards.enumerated().map { ([("loop", "\($0.offset)")], [$0.element.lagMicroseconds]) })
    }

    private func writeStore(_ text: MetricText) {
        let store = service.storeMetrics
        text.histogram("chat_store_batch_size", "Units in one commit.", [([], [store.batchUnits])])
        text.histogram(
            "chat_store_commit_duration_seconds", "Time of one group commit.",
            [([("store", "sqlite")], [store.commitMicroseconds])])
        text.single("chat_store_entries", .counter, "Log entries written.", store.entries.current)
        text.single("chat_store_failures", .counter, "Commits that failed.", store.failures.current)
        text.single(
            "chat_store_lists_cut_off", .counter,
            "Pages of lists that ended early because they had looked at enough.",
            store.listsCutOff.load(ordering: .relaxed))
        text.family("chat_dependency_up", .gauge, "1 while the dependency works.")
        text.sample("chat_dependency_up", [("dependency", "sqlite")], store.isWritable.current)
    }

    private func writeSearch(_ text: MetricText) {
        let search = service.searchMetrics
        let behind = service.storeMetrics.lastRow.current.subtractingReportingOverflow(
            search.row.current)
        text.single(
            "chat_search_lag_rows", .gauge,
            "Rows of the log, of a commit each, that the search index does not know yet.",
            behind.overflow ? 0 : behind.partialValue)
        text.single(
            "chat_search_indexed", .counter, "Messages indexed for the search.",
            search.indexed.current)
        text.single(
            "chat_search_skipped", .counter, "Messages too long to be searched.",
            search.skipped.current)
        text.single(
            "chat_search_rebuilds", .counter, "How often the search index was made again.",
            search.rebuilds.current)
        text.single(
            "chat_search_pages", .counter, "Pages of found conversations.", search.pages.current)
        text.single(
            "chat_search_pages_cut_off", .counter,
            "Pages that ended early because they had looked at enough.",
            search.pagesCutOff.current)
    }

    private func writeProcess(_ text: MetricText) {
        let process = cl_process()
        text.family("process_cpu_seconds", .counter, "User and system time.")
        text.sample(
            "process_cpu_seconds_total", [], Double(process.user_us + process.system_us) / 1e6)
        text.single("process_resident_memory_bytes", .gauge, "Resident memory.", process.resident)
        text.single("process_virtual_memory_bytes", .gauge, "Virtual memory.", process.virtual_size)
        text.single("process_open_fds", .gauge, "Open descriptors.", process.descriptors)
        text.single(
            "process_max_fds", .gauge, "Descriptors that may be open.", process.descriptors_max)
        text.family("process_start_time_seconds", .gauge, "Unix time of the start.")
        text.sample("process_start_time_seconds", [], Double(service.startedMilliseconds) / 1000)
        text.family("chat_build_info", .gauge, "What is running.")
        text.sample(
            "chat_build_info",
            [
                ("version", "\(ServiceState.version)"), ("commit", BuildInformation.commit),
                ("backend", service.backendName),
            ], 1 as UInt64)
    }
}

/// Writes families and samples; differs between the formats only in how counters are named in their
/// header.
struct MetricText {
    enum Kind: String { case counter, gauge, histogram }

    let out: ByteWriter
    let isOpenMetrics: Bool

    func family(_ name: String, _ kind: Kind, _ help: String) {
        // 0.0.4 names the family like its sample, OpenMetrics without the suffix.
        let shown = kind == .counter && !isOpenMetrics ? name + "_total" : name
        out.append(string: "# HELP \(shown) \(help)\n# TYPE \(shown) \(kind.rawValue)\n")
    }

    func sample(_ name: String, _ labels: [(String, String)], _ value: UInt64) {
        head(name, labels)
        out.append(decimal: value)
        out.append(0x0A)
    }

    func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
        head(name, labels)
        out.append(string: "\(value)")
        out.append(0x0A)
    }

    func single(_ name: String, _ kind: Kind, _ help: String, _ value: UInt64) {
        family(name, kind, help)
        sample(kind == .counter ? name + "_total" : name, [], value)
    }

    private func head(_ name: String, _ labels: [(String, String)]) {
        out.append(string: name)
        if !labels.isEmpty {
            out.append(0x7B)
            for (index, (label, value)) in labels.enumerated() {
                if index > 0 { out.append(0x2C) }
                out.append(string: label)
                out.append("=")
                append(labelValue: value)
            }
            out.append(0x7D)
        }
        out.append(0x20)
    }

    /// In quotes; of all bytes just backslash, quote and line feed are escaped.
    private func append(labelValue value: String) {
        out.append(0x22)
        for byte in value.utf8 {
            switch byte {
            case 0x5C: out.append("\\\\")
            case 0x22: out.append("\\\"")
            case 0x0A: out.append("\\n")
            default: out.append(byte)
            }
        }
        out.append(0x22)
    }

    /// One family; the histograms of a series are added up.
    func histogram(_ name: String, _ help: String, _ series: [([(String, String)], [Histogram])]) {
        family(name, .histogram, help)
        for (labels, histograms) in series {
            guard let first = histograms.first else { continue }
            var counts = [UInt64](repeating: 0, count: first.bounds.count + 1)
            var sum: UInt64 = 0
            for histogram in histograms {
                for (index, count) in histogram.counts.enumerated() { counts[index] += count }
                sum &+= histogram.sum
            }
            var running: UInt64 = 0
            for (index, bound) in first.bounds.enumerated() {
                running += counts[index]
                sample(
                    name + "_bucket", labels + [("le", "\(Double(bound) / first.scale)")], running)
            }
            running += counts[first.bounds.count]
            sample(name + "_bucket", labels + [("le", "+Inf")], running)
            sample(name + "_sum", labels, Double(sum) / first.scale)
            sample(name + "_count", labels, running)
        }
    }
}
