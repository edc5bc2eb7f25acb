// Node's own parser. Arguments: address, port, log file.
const fs = require('node:fs');
const http = require('node:http');

const [address, port, log] = process.argv.slice(2);

const server = http.createServer((request, response) => {
  fs.appendFileSync(log, `${request.method} ${request.url}\n`);
  request.on('data', () => {});
  request.on('end', () => {
    response.setHeader('X-Path', encodeURI(request.url));
    response.end('seen\n');
  });
});
server.keepAliveTimeout = 60000;
// Refusals are answers too, and end the connection.
server.on('clientError', (error, socket) => {
  fs.appendFileSync(log, `REFUSED ${error.code}\n`);
  if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
});
server.listen(Number(port), address);
