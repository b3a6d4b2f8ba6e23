// Runs: a reply that is being made, streamed to whoever watches, and ended exactly once.
//
//     wanted ──▶ started ──▶ delta … ──▶ finishing (its message is on its way) ──▶ completed
//                   └──▶ cancelled, superseded (the handler changed), failed (no store),
//                        expired (its lease is over)
//
// A run lives in this core's memory only: after a crash there is none, so none stays open.

import Bytes
import ChatModel

extension ConversationOwner {
    /// True while a run is being streamed: call `tick` every `Limits.streamFrameMilliseconds`.
    public var needsTick: Bool { !runs.isEmpty }

    func want(_ request: RunRequest, in state: ConversationState) {
        guard state.run != nil || !state.wantedRuns.isEmpty else {
            return start(request, in: state)
        }
        switch directory[state.row.tenant].runPolicy {
        case .queue: state.wantedRuns.append(request)
        case .burst:
            if state.wantedRuns.isEmpty {
                state.wantedRuns.append(request)
            } else {
                state.wantedRuns[0].waiters.append(contentsOf: request.waiters)
            }
        case .restart:
            guard let current = state.run, !current.isFinishing else {
                state.wantedRuns.append(request)
                return
            }
            let merged = RunRequest(waiters: current.request.waiters + request.waiters)
            state.wantedRuns.insert(merged, at: 0)
            endWithoutAnswer(current, in: state, reason: "restarted")
            startNext(in: state)
        }
    }

    private func start(_ request: RunRequest, in state: ConversationState) {
        // Who handles it is known when the unit that changes it is stored or refused.
        if state.inFlight?.changesHandler ?? false {
            state.wantedRuns.insert(request, at: 0)
            return
        }
        guard state.row.handler.type == .bot, let last = request.waiters.last,
            let reply = engine.reply(to: request.text, contentType: last.submission.contentType)
        else {
            for waiter in request.waiters where waiter.submission.waitsForReply {
                answer(waiter, reply: nil, status: "accepted")
            }
            return startNext(in: state)
        }
        counters.runsStarted += 1
        let id = identifiers.next(milliseconds: nowMilliseconds, shardKey: last.submission.shardKey)
        var run = Run(
            id: id, request: request, reply: reply, handlerToken: state.row.handler.token,
            startedNanoseconds: nowNanoseconds)
        let words = reply.text.bytes.wordCount()
        run.wordsPerFrame = max(1, (words + Limits.streamFramesMax - 1) / Limits.streamFramesMax)
        state.run = run
        runs[id] = state.row.id
        deliver(runFrame(id, state, "started"), seq: 0, state, audience(of: state), except: nil)
        stream(state)
    }

    /// Streams the next words of every run, and ends those whose lease is over. One whose message
    /// is on its way has its end from that.
    public func tick() {
        for id in runs.values {
            guard let state = conversations[id], let run = state.run, !run.isFinishing else {
                continue
            }
            if nowNanoseconds &- run.startedNanoseconds >= runLeaseNanoseconds {
                counters.runsExpired += 1
                finish(run, in: state, reason: "expired", reply: nil)
            } else {
                stream(state)
            }
        }
    }

    private func stream(_ state: ConversationState) {
        guard var run = state.run else { return }
        let text = run.reply.text
        let cores = audience(of: state)
        // Word by word is for people who watch: not while somebody waits for the whole, or much is
        // behind it.
        let isWatched =
            cores != 0 && state.wantedRuns.count < Limits.runsWaitingWhileStreamingMax
            && !run.request.waiters.contains { $0.submission.waitsForReply }
        let end =
            isWatched ? text.bytes.end(ofWords: run.wordsPerFrame, from: run.sentBytes) : text.count
        if run.frameIndex == 0, let first = run.request.waiters.first {
            whenFirstToken(nowNanoseconds &- first.submission.arrivedNanoseconds)
        }
        if end > run.sentBytes, cores != 0 {
            let frame = runFrame(
                run.id, state, "delta", index: run.frameIndex, text: text,
                range: run.sentBytes..<end)
            deliver(frame, seq: 0, state, cores, except: nil)
        }
        run.sentBytes = end
        run.frameIndex += 1
        if end == text.count { run.isFinishing = true }
        state.run = run
        if run.isFinishing { enqueue(run, in: state) }
    }

    /// Ends a run whose message is stored, or that will never have one.
    func finish(_ run: Run, in state: ConversationState, reason: StaticString, reply: ByteSlice?) {
        for waiter in run.request.waiters where waiter.submission.waitsForReply {
            answer(waiter, reply: reply, status: reply == nil ? "accepted" : "answered")
        }
        endWithoutAnswer(run, in: state, reason: reason)
        startNext(in: state)
    }

    private func endWithoutAnswer(_ run: Run, in state: ConversationState, reason: StaticString) {
        runs[run.id] = nil
        if state.run?.id == run.id { state.run = nil }
        deliver(
            runFrame(run.id, state, "ended", reason: reason), seq: 0, state, audience(of: state),
            except: nil)
    }

    func startNext(in state: ConversationState) {
        guard state.run == nil, !state.wantedRuns.isEmpty else { return }
        start(state.wantedRuns.removeFirst(), in: state)
    }

    func cancel(_ id: Identifier, _ origin: Origin, _ frameID: ByteBlock?, _ principal: Principal) {
        guard let conversation = runs[id], let state = conversations[conversation],
            let run = state.run,
            mayAccess(principal, state)
        else {
            let problem = Problem(.notFound, "There is no such run; it may have ended.")
            return origin.isSocket
                ? complain(origin, frameID, problem) : fail(origin, frameID, problem)
        }
        // Its message is already on its way into the log: too late, and its end is told by that.
        if !origin.isSocket { accept(run, in: state, origin) }
        guard !run.isFinishing else { return }
        counters.runsCancelled += 1
        finish(run, in: state, reason: "cancelled", reply: nil)
    }

    /// A socket sees the run's end as a frame; who asked over HTTP may have nothing else.
    private func accept(_ run: Run, in state: ConversationState, _ origin: Origin) {
        encoder.removeAll()
        encoder.append("{\"run_id\":\"")
        run.id.write(.run, into: encoder)
        encoder.append("\",\"conversation_id\":\"")
        state.row.id.write(.conversation, into: encoder)
        encoder.append(
            run.isFinishing
                ? "\",\"state\":\"finishing\"}" : "\",\"state\":\"ended\",\"reason\":\"cancelled\"}"
        )
        succeed(origin, status: 202, ByteSlice(encoder.block()))
    }

    /// A reply that was committed with its message is still shown as a run to those who watch.
    func announceInstantRun(
        _ unit: CommitUnit, _ entries: Range<Int>, _ submission: Submission,
        _ state: ConversationState,
        _ cores: UInt64
    ) {
        guard cores != 0 else { return }
        announce(unit, entries.prefix(1), state, cores)
        let id = identifiers.next(milliseconds: nowMilliseconds, shardKey: submission.shardKey)
        deliver(runFrame(id, state, "started"), seq: 0, state, cores, except: nil)
        if let reply = engine.reply(to: submission.text, contentType: submission.contentType) {
            let frame = runFrame(
                id, state, "delta", index: 0, text: reply.text, range: 0..<reply.text.count)
            deliver(frame, seq: 0, state, cores, except: nil)
        }
        announce(unit, entries.dropFirst(), state, cores)
        deliver(
            runFrame(id, state, "ended", reason: "completed"), seq: 0, state, cores, except: nil)
    }
}

extension RawSpan {
    /// Words are runs of bytes that are not a space or line feed, with the white space behind them.
    func wordCount() -> Int {
        var offset = 0
        var count = 0
        while offset < byteCount {
            offset = end(ofWords: 1, from: offset)
            count += 1
        }
        return count
    }

    /// The offset behind the next `count` words.
    func end(ofWords count: Int, from start: Int) -> Int {
        var offset = start
        for _ in 0..<count {
            while offset < byteCount, byte(at: offset) != 0x20, byte(at: offset) != 0x0A {
                offset += 1
            }
            while offset < byteCount, byte(at: offset) == 0x20 || byte(at: offset) == 0x0A {
                offset += 1
            }
        }
        return offset
    }
}
