"""`python -m kfsl.demo`."""

from kfsl.demo import main

if __name__ == "__main__":
    main()
