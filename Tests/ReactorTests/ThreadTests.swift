import CLinux
import Glibc
import Rings
import Synchronization
import Testing

@testable import Reactor

@Suite struct WorkerThreadTests {
    @Test("A thread runs its body once, and joining waits for its end") func joins() {
        let runs = AtomicWords(count: 1)
        let thread = WorkerThread(name: "worker") {
            for _ in 0..<1000 { sched_yield() }
            runs.store(runs.load(0) + 1, at: 0)
        }
        thread.join()
        #expect(runs.load(0) == 1)
    }

    @Test(
        "A thread bears its name, cut to what the kernel takes",
        arguments: [
            ("shard-3", "shard-3"), ("a-name-that-is-far-too-long", "a-name-that-is-"),
        ]) func names(_ name: String, _ shown: String)
    {
        let seen = Mutex("")
        WorkerThread(name: name) {
            let file = unsafe open("/proc/thread-self/comm", O_RDONLY)
            var bytes = [UInt8](repeating: 0, count: 32)
            let count = unsafe read(file, &bytes, bytes.count)
            close(file)
            let name = String(decoding: bytes.prefix(max(0, count - 1)), as: UTF8.self)
            seen.withLock { $0 = name }
        }.join()
        #expect(seen.withLock { $0 } == shown)
    }

    @Test("A pinned thread has one processor to run on") func pinned() {
        let processors = AtomicWords(count: 1)
        WorkerThread(name: "pinned", processor: 0) {
            processors.store(UInt64(cl_processor_count()), at: 0)
        }.join()
        #expect(processors.load(0) == 1)
    }
}

@Suite struct DoorbellOnEventfdTests {
    @Test("A ring makes the bell readable until it is silenced") func readableUntilSilenced() {
        let bell = Doorbell.make()
        defer { close(bell.descriptor) }
        #expect(cl_wait_readable(bell.descriptor, 0) == 0)
        bell.announceSleep()
        bell.ringIfAsleep()
        #expect(cl_wait_readable(bell.descriptor, 0) == 1)
        bell.silence()
        #expect(cl_wait_readable(bell.descriptor, 0) == 0)
        bell.silence()
    }

    @Test("Blocking on a bell that has rung returns at once and silences it")
    func blockTakesTheRing() {
        let bell = Doorbell.make()
        defer { close(bell.descriptor) }
        bell.announceSleep()
        bell.ringIfAsleep()
        bell.block(milliseconds: -1)
        #expect(cl_wait_readable(bell.descriptor, 0) == 0)
    }
}
