// A round trip with kafkajs, which reads in groups only: `round_trip.js BOOTSTRAP TOPIC CODEC` has its admin client make a topic and grow
// it, writes 400 records with the idempotent producer, and asks where the partitions end. Prints "written 400".
const assert = require('node:assert')
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')

const [bootstrap, topic, codec] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'round-trip', brokers: [bootstrap], logLevel: logLevel.ERROR })

async function run() {
  const admin = kafka.admin()
  await admin.connect()
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }], waitForLeaders: true }), true)
  await admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] })
  assert.ok((await admin.listTopics()).includes(topic))
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let batch = 0; batch < 4; batch++) {
    const messages = Array.from({ length: 100 }, (_, n) => ({ key: `${batch}-${n}`, value: 'the quick brown fox '.repeat(10), partition: n % 2 }))
    const compression = codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None
    const results = await producer.send({ topic, acks: -1, compression, messages })
    assert.ok(results.every(({ errorCode }) => errorCode === 0), JSON.stringify(results))
  }
  await producer.disconnect()
  const offsets = await admin.fetchTopicOffsets(topic)
  assert.deepStrictEqual(offsets.map(({ partition, low, high }) => [partition, low, high]).sort(), [[0, '0', '200'], [1, '0', '200']])
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '150' }] })
  const after = await admin.fetchTopicOffsets(topic)
  assert.strictEqual(after.find(({ partition }) => partition === 0).low, '150')
  await admin.disconnect()
  console.log('written 400')
}

run().catch((error) => {
  console.error(error)
  process.exit(1)
})
