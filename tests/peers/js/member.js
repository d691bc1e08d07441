// A member of a consumer group with kafkajs: `member.js BOOTSTRAP TOPIC GROUP SESSION_MS`. Commits after each batch, and leaves on SIGTERM.
// Prints, each on a line of its own:
//
//     = 0,2       the partitions it has now
//     r 2 17      a record it has read: partition and offset
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, groupId, session] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'member', brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 50 } })
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: Number(session),
  rebalanceTimeout: 10000,
  heartbeatInterval: 300,
  maxWaitTimeInMs: 100,
  metadataMaxAge: 2000
})
const { GROUP_JOIN, REBALANCING, CRASH } = consumer.events

consumer.on(GROUP_JOIN, ({ payload }) => console.log('=', (payload.memberAssignment[topic] || []).join(',')))
consumer.on(REBALANCING, () => console.log('=', ''))
consumer.on(CRASH, ({ payload }) => console.error(payload.error))

async function run() {
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => console.log('r', partition, message.offset)
  })
}

process.once('SIGTERM', async () => {
  await consumer.disconnect()
  process.exit(0)
})
run().catch((error) => {
  console.error(error)
  process.exit(1)
})
