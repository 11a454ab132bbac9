"""python -m benchmarks.transfer"""

from benchmarks.transfer.main import main

if __name__ == "__main__":
    main()
